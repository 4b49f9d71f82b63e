package command

import (
	"cmp"
	"fmt"

	"example.org/souk/mall"
)

// CreateShoppingList tells the depot what an order needs; nobody fetches it until it is initiated. The list has the id of its order.
// Only the checkout saga sends it.
type CreateShoppingList struct {
	List      string         `json:"list"`
	Order     string         `json:"order"`
	Stops     []mall.Stop    `json:"stops"`               // as mall.Stops makes them
	WhenShort mall.WhenShort `json:"whenShort,omitempty"` // empty: the customer is asked
}

// CommandType returns CreateShoppingListV1.
func (CreateShoppingList) CommandType() string { return CreateShoppingListV1 }

// Stream returns the id of the list.
func (c CreateShoppingList) Stream() string { return c.List }

// Validate names the first wrong field.
func (c CreateShoppingList) Validate() error {
	return cmp.Or(
		id("list", c.List),
		id("order", c.Order),
		stops("stops", c.Stops),
		whenShort("whenShort", c.WhenShort),
	)
}

// InitiateShopping lets robots fetch the list. Only the checkout saga sends it.
type InitiateShopping struct {
	List string `json:"list"`
}

// CommandType returns InitiateShoppingV1.
func (InitiateShopping) CommandType() string { return InitiateShoppingV1 }

// Stream returns the id of the list.
func (c InitiateShopping) Stream() string { return c.List }

// Validate names the first wrong field.
func (c InitiateShopping) Validate() error {
	return id("list", c.List)
}

// AssignList gives an available list to an idle robot.
type AssignList struct {
	List  string `json:"list"`
	Robot string `json:"robot"`
}

// CommandType returns AssignListV1.
func (AssignList) CommandType() string { return AssignListV1 }

// Stream returns the id of the list.
func (c AssignList) Stream() string { return c.List }

// Validate names the first wrong field.
func (c AssignList) Validate() error {
	return cmp.Or(
		id("list", c.List),
		id("robot", c.Robot),
	)
}

// ReportStop says what became of a stop. Update is that of the assignment which the robot works on: one that was replaced is
// refused. Picked is all of the stop, fewer than that, or none, as the outcome says.
type ReportStop struct {
	List    string       `json:"list"`
	Stop    int64        `json:"stop"`
	Robot   string       `json:"robot"`
	Update  int64        `json:"update"`
	Outcome mall.Outcome `json:"outcome"`
	Picked  int64        `json:"picked"`
}

// CommandType returns ReportStopV1.
func (ReportStop) CommandType() string { return ReportStopV1 }

// Stream returns the id of the list.
func (c ReportStop) Stream() string { return c.List }

// Validate names the first wrong field.
func (c ReportStop) Validate() error {
	if err := cmp.Or(
		id("list", c.List),
		number("stop", c.Stop, mall.MaxLines),
		id("robot", c.Robot),
		positive("update", c.Update),
	); err != nil {
		return err
	}
	switch c.Outcome {
	case mall.OutcomePicked:
		return quantity("picked", c.Picked)
	case mall.OutcomeShort:
		return quantityOrNone("picked", c.Picked)
	case mall.OutcomeBlocked:
		if c.Picked != 0 {
			return wrong("picked", "must be 0 where the way is blocked")
		}
		return nil
	}
	return wrong("outcome", "must be picked, short or blocked")
}

// DeliverItems says that a robot hands in at the depot what it has of the list.
type DeliverItems struct {
	List  string      `json:"list"`
	Robot string      `json:"robot"`
	Lines []mall.Line `json:"lines"`
}

// CommandType returns DeliverItemsV1.
func (DeliverItems) CommandType() string { return DeliverItemsV1 }

// Stream returns the id of the list.
func (c DeliverItems) Stream() string { return c.List }

// Validate names the first wrong field.
func (c DeliverItems) Validate() error {
	return cmp.Or(
		id("list", c.List),
		id("robot", c.Robot),
		lines("lines", c.Lines),
	)
}

// CompleteList says that a robot has nothing left to do for the list.
type CompleteList struct {
	List  string `json:"list"`
	Robot string `json:"robot"`
}

// CommandType returns CompleteListV1.
func (CompleteList) CommandType() string { return CompleteListV1 }

// Stream returns the id of the list.
func (c CompleteList) Stream() string { return c.List }

// Validate names the first wrong field.
func (c CompleteList) Validate() error {
	return cmp.Or(
		id("list", c.List),
		id("robot", c.Robot),
	)
}

// CancelList ends a list in whatever state it is, a completed one too: what was picked goes back. For a list that there is
// not it leaves a mark that refuses a late CreateShoppingList. Only the checkout saga sends it.
type CancelList struct {
	List   string `json:"list"`
	Reason string `json:"reason"`
}

// CommandType returns CancelListV1.
func (CancelList) CommandType() string { return CancelListV1 }

// Stream returns the id of the list.
func (c CancelList) Stream() string { return c.List }

// Validate names the first wrong field.
func (c CancelList) Validate() error {
	return cmp.Or(
		id("list", c.List),
		text("reason", c.Reason, maxReason),
	)
}

// RegisterRobot adds a robot to the fleet.
type RegisterRobot struct {
	Robot   string     `json:"robot"`
	Carries int64      `json:"carries"` // pieces at a time
	Home    mall.Place `json:"home"`    // its charger
}

// CommandType returns RegisterRobotV1.
func (RegisterRobot) CommandType() string { return RegisterRobotV1 }

// Stream returns the id of the robot.
func (c RegisterRobot) Stream() string { return c.Robot }

// Validate names the first wrong field.
func (c RegisterRobot) Validate() error {
	return cmp.Or(
		id("robot", c.Robot),
		quantity("carries", c.Carries),
	)
}

// RetireRobot takes a robot out of the fleet, which must not be working.
type RetireRobot struct {
	Robot string `json:"robot"`
}

// CommandType returns RetireRobotV1.
func (RetireRobot) CommandType() string { return RetireRobotV1 }

// Stream returns the id of the robot.
func (c RetireRobot) Stream() string { return c.Robot }

// Validate names the first wrong field.
func (c RetireRobot) Validate() error {
	return id("robot", c.Robot)
}

// RenewLease says that a robot is there, and how it is. One that does not say so before its lease ends is lost; one that
// was lost belongs to the fleet again by it, without its list.
type RenewLease struct {
	Robot   string          `json:"robot"`
	State   mall.RobotState `json:"state"` // as the robot sees itself
	Battery int64           `json:"battery"`
	At      mall.Place      `json:"at"`
}

// CommandType returns RenewLeaseV1.
func (RenewLease) CommandType() string { return RenewLeaseV1 }

// Stream returns the id of the robot.
func (c RenewLease) Stream() string { return c.Robot }

// Validate names the first wrong field.
func (c RenewLease) Validate() error {
	if err := id("robot", c.Robot); err != nil {
		return err
	}
	if !c.State.Valid() || c.State == mall.RobotOffline || c.State == mall.RobotAssigned {
		return wrong("state", "must be idle, working, charging, paused or error")
	}
	if c.Battery < 0 || c.Battery > 100 {
		return wrong("battery", "must be 0 to 100")
	}
	return nil
}

// SteerRobot tells a robot to pause, to go on or to go home and charge.
type SteerRobot struct {
	Robot string     `json:"robot"`
	Steer mall.Steer `json:"steer"`
}

// CommandType returns SteerRobotV1.
func (SteerRobot) CommandType() string { return SteerRobotV1 }

// Stream returns the id of the robot.
func (c SteerRobot) Stream() string { return c.Robot }

// Validate names the first wrong field.
func (c SteerRobot) Validate() error {
	if err := id("robot", c.Robot); err != nil {
		return err
	}
	if !c.Steer.Valid() {
		return wrong("steer", "must be pause, resume or charge")
	}
	return nil
}

// RecoverItems says that somebody has what a lost robot carried: a robot, or a person, where Robot is empty, who has handed it in.
type RecoverItems struct {
	List  string `json:"list"`
	Lost  string `json:"lost"`
	Robot string `json:"robot,omitempty"`
}

// CommandType returns RecoverItemsV1.
func (RecoverItems) CommandType() string { return RecoverItemsV1 }

// Stream returns the id of the list.
func (c RecoverItems) Stream() string { return c.List }

// Validate names the first wrong field.
func (c RecoverItems) Validate() error {
	return cmp.Or(
		id("list", c.List),
		id("lost", c.Lost),
		optionalID("robot", c.Robot),
	)
}

// stops asks for 1 to mall.MaxLines stops, numbered from 1.
func stops(field string, value []mall.Stop) error {
	if err := count(field, len(value)); err != nil {
		return err
	}
	for n, s := range value {
		at := fmt.Sprintf("%s[%d]", field, n)
		if s.Stop != int64(n)+1 {
			return wrong(at+".stop", "must count from 1")
		}
		if err := cmp.Or(
			optionalID(at+".store", s.Store),
			id(at+".sku", s.SKU),
			name(at+".name", s.Name),
			quantity(at+".quantity", s.Quantity),
		); err != nil {
			return err
		}
	}
	return nil
}
