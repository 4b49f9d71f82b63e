package event

import "example.org/souk/mall"

// ShoppingListCreated says that the depot knows what an order needs. Nobody fetches it yet.
type ShoppingListCreated struct {
	List      string         `json:"list"`
	Order     string         `json:"order"`
	Stops     []mall.Stop    `json:"stops"`
	WhenShort mall.WhenShort `json:"whenShort,omitempty"` // empty: the customer is asked
}

// ShoppingListAvailable says that the list waits for a robot: it was initiated, or the robot that had it is gone.
type ShoppingListAvailable struct {
	List  string `json:"list"`
	Order string `json:"order"`
}

// ShoppingListAssigned gives the list to a robot. Stops are those that are to be picked, and Update counts the list's
// assignments from 1, so that an older one is known as such.
type ShoppingListAssigned struct {
	List    string      `json:"list"`
	Order   string      `json:"order"`
	Robot   string      `json:"robot"`
	Update  int64       `json:"update"`
	Stops   []mall.Stop `json:"stops"`
	Expires int64       `json:"expires"` // the robot's lease as it stands now
}

// ShoppingListReassigned gives what is left of the list to another robot. What From has picked it keeps: see RobotLost.
type ShoppingListReassigned struct {
	List    string      `json:"list"`
	Order   string      `json:"order"`
	From    string      `json:"from"`
	Robot   string      `json:"robot"`
	Update  int64       `json:"update"`
	Stops   []mall.Stop `json:"stops"`
	Expires int64       `json:"expires"`
}

// StopPicked says that a robot has all pieces of a stop.
type StopPicked struct {
	List     string `json:"list"`
	Order    string `json:"order"`
	Stop     int64  `json:"stop"`
	Robot    string `json:"robot"`
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// StopShort says that a robot found Picked pieces of a stop where Wanted were promised. The rest will not come.
type StopShort struct {
	List   string `json:"list"`
	Order  string `json:"order"`
	Stop   int64  `json:"stop"`
	Robot  string `json:"robot"`
	SKU    string `json:"sku"`
	Wanted int64  `json:"wanted"`
	Picked int64  `json:"picked"`
}

// StopBlocked says that a robot cannot reach a stop. The stop is still to be picked, by it or by another.
type StopBlocked struct {
	List  string `json:"list"`
	Order string `json:"order"`
	Stop  int64  `json:"stop"`
	Robot string `json:"robot"`
}

// ItemsDelivered says that a robot has handed goods in at the depot: only now they have arrived.
type ItemsDelivered struct {
	List  string      `json:"list"`
	Order string      `json:"order"`
	Robot string      `json:"robot"`
	Lines []mall.Line `json:"lines"`
}

// ShoppingListCompleted says that every stop is settled and everything that was picked is at the depot. Missing is what was
// not found; the StopShorts before it have said so one by one.
type ShoppingListCompleted struct {
	List    string      `json:"list"`
	Order   string      `json:"order"`
	Lines   []mall.Line `json:"lines"`
	Missing []mall.Line `json:"missing,omitempty"`
}

// ShoppingListCanceled says that the order gets nothing from this list any more. Return is what had been picked and goes back
// to where it lay.
type ShoppingListCanceled struct {
	List   string      `json:"list"`
	Order  string      `json:"order"`
	Reason string      `json:"reason"`
	Return []mall.Line `json:"return,omitempty"`
}

// RobotRegistered says that a robot belongs to the fleet. It is offline until it is heard of.
type RobotRegistered struct {
	Robot   string     `json:"robot"`
	Carries int64      `json:"carries"` // pieces at a time
	Home    mall.Place `json:"home"`    // its charger
}

// RobotRetired says that a robot belongs to the fleet no more.
type RobotRetired struct {
	Robot string `json:"robot"`
}

// RobotChanged says in which state a robot is from now on. Where it is on its way is not worth an event.
type RobotChanged struct {
	Robot   string          `json:"robot"`
	State   mall.RobotState `json:"state"`
	Battery int64           `json:"battery"` // percent
	At      mall.Place      `json:"at"`
}

// RobotSteered tells a robot what to do beside its list.
type RobotSteered struct {
	Robot string     `json:"robot"`
	Steer mall.Steer `json:"steer"`
}

// RobotLost says that a robot let its lease run out. It keeps what it carries, which is Lines of List, at the place where it
// was heard of last; without a list it carries nothing.
type RobotLost struct {
	Robot string      `json:"robot"`
	List  string      `json:"list,omitempty"`
	Order string      `json:"order,omitempty"`
	Lines []mall.Line `json:"lines,omitempty"`
	At    mall.Place  `json:"at"`
}

// RecoveryAssigned sends a robot to fetch what a lost one carries.
type RecoveryAssigned struct {
	List   string      `json:"list"`
	Order  string      `json:"order"`
	Lost   string      `json:"lost"`
	Robot  string      `json:"robot"`
	Update int64       `json:"update"` // as in ShoppingListAssigned
	Lines  []mall.Line `json:"lines"`
	At     mall.Place  `json:"at"`
}

// ItemsRecovered says that a robot, or a person where Robot is empty, has what a lost one carried.
type ItemsRecovered struct {
	List  string      `json:"list"`
	Order string      `json:"order"`
	Lost  string      `json:"lost"`
	Robot string      `json:"robot,omitempty"`
	Lines []mall.Line `json:"lines"`
}

// EventType returns ShoppingListCreatedV1.
func (ShoppingListCreated) EventType() string { return ShoppingListCreatedV1 }

// EventType returns ShoppingListAvailableV1.
func (ShoppingListAvailable) EventType() string { return ShoppingListAvailableV1 }

// EventType returns ShoppingListAssignedV1.
func (ShoppingListAssigned) EventType() string { return ShoppingListAssignedV1 }

// EventType returns ShoppingListReassignedV1.
func (ShoppingListReassigned) EventType() string { return ShoppingListReassignedV1 }

// EventType returns StopPickedV1.
func (StopPicked) EventType() string { return StopPickedV1 }

// EventType returns StopShortV1.
func (StopShort) EventType() string { return StopShortV1 }

// EventType returns StopBlockedV1.
func (StopBlocked) EventType() string { return StopBlockedV1 }

// EventType returns ItemsDeliveredV1.
func (ItemsDelivered) EventType() string { return ItemsDeliveredV1 }

// EventType returns ShoppingListCompletedV1.
func (ShoppingListCompleted) EventType() string { return ShoppingListCompletedV1 }

// EventType returns ShoppingListCanceledV1.
func (ShoppingListCanceled) EventType() string { return ShoppingListCanceledV1 }

// EventType returns RobotRegisteredV1.
func (RobotRegistered) EventType() string { return RobotRegisteredV1 }

// EventType returns RobotRetiredV1.
func (RobotRetired) EventType() string { return RobotRetiredV1 }

// EventType returns RobotChangedV1.
func (RobotChanged) EventType() string { return RobotChangedV1 }

// EventType returns RobotSteeredV1.
func (RobotSteered) EventType() string { return RobotSteeredV1 }

// EventType returns RobotLostV1.
func (RobotLost) EventType() string { return RobotLostV1 }

// EventType returns RecoveryAssignedV1.
func (RecoveryAssigned) EventType() string { return RecoveryAssignedV1 }

// EventType returns ItemsRecoveredV1.
func (ItemsRecovered) EventType() string { return ItemsRecoveredV1 }
