package depot

import (
	"reflect"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

var (
	lamp  = mall.Stop{Stop: 1, Store: "s1", SKU: "lamp", Name: "Lamp", Quantity: 2}
	tea   = mall.Stop{Stop: 2, Store: "s2", SKU: "tea", Name: "Tea", Quantity: 1}
	stops = []mall.Stop{lamp, tea}

	wanted    = command.CreateShoppingList{List: "o1", Order: "o1", Stops: stops}
	created   = event.ShoppingListCreated(wanted)
	offered   = event.ShoppingListAvailable{List: "o1", Order: "o1"}
	given     = event.ShoppingListAssigned{List: "o1", Order: "o1", Robot: "r1", Update: 1, Stops: stops, Expires: until}
	gotLamp   = event.StopPicked{List: "o1", Order: "o1", Stop: 1, Robot: "r1", SKU: "lamp", Quantity: 2}
	gotTea    = event.StopPicked{List: "o1", Order: "o1", Stop: 2, Robot: "r1", SKU: "tea", Quantity: 1}
	noTea     = event.StopShort{List: "o1", Order: "o1", Stop: 2, Robot: "r1", SKU: "tea", Wanted: 1}
	both      = []mall.Line{{SKU: "lamp", Quantity: 2}, {SKU: "tea", Quantity: 1}}
	lamps     = both[:1]
	handedIn  = event.ItemsDelivered{List: "o1", Order: "o1", Robot: "r1", Lines: both}
	completes = event.ShoppingListCompleted{List: "o1", Order: "o1", Lines: both}
	lostAt    = CarrierLost{List: "o1", Robot: "r1", At: mall.Place{X: 7}}

	until      = backbonetest.Epoch.Add(DefaultLease).UnixMicro()
	joined     = event.RobotRegistered{Robot: "r1", Carries: 10, Home: mall.Place{X: 5}}
	idle       = event.RobotChanged{Robot: "r1", State: mall.RobotIdle, Battery: 90, At: mall.Place{X: 7}}
	heard      = LeaseRenewed{Robot: "r1", Battery: 90, At: mall.Place{X: 7}, Expires: until}
	tasked     = RobotTasked{Robot: "r1", List: "o1", Update: 1, Expires: until}
	isAssigned = event.RobotChanged{Robot: "r1", State: mall.RobotAssigned, Battery: 90, At: mall.Place{X: 7}}
	says       = command.RenewLease{Robot: "r1", State: mall.RobotIdle, Battery: 90, At: mall.Place{X: 7}}

	inS1 = mall.Place{X: 1000, Y: 1000}
	job  = Job{List: "o1", At: inS1}
)

func events(list ...backbone.Event) []backbone.Event { return list }

func reports(stop int64, outcome mall.Outcome, picked int64) command.ReportStop {
	return command.ReportStop{List: "o1", Stop: stop, Robot: "r1", Update: 1, Outcome: outcome, Picked: picked}
}

func late(c command.ReportStop) command.ReportStop { c.Update = 2; return c }

// A list by itself: what is made, reported, told twice and told late.
func TestLists(t *testing.T) {
	t.Parallel()
	other := wanted
	other.Stops = stops[:1]
	assigned := events(created, offered, given)
	lampDone := append(assigned[:3:3], gotLamp)
	gone := append(assigned[:3:3], lostAt)
	for name, c := range map[string]struct {
		given   []backbone.Event
		when    backbone.Command
		then    []backbone.Event
		refused string
	}{
		"wanted":                       {nil, wanted, events(created), ""},
		"wanted, told twice":           {events(created), wanted, nil, ""},
		"wanted otherwise":             {events(created), other, nil, "list_exists"},
		"wanted after its cancel":      {events(ListBarred{List: "o1", Reason: "x"}), wanted, nil, "list_canceled"},
		"picked":                       {assigned, reports(1, mall.OutcomePicked, 2), events(gotLamp), ""},
		"picked, told twice":           {lampDone, reports(1, mall.OutcomePicked, 2), nil, ""},
		"picked, then told otherwise":  {lampDone, reports(1, mall.OutcomeShort, 1), nil, "stop_settled"},
		"picked, told after the list":  {append(lampDone, gotTea, handedIn, PickerDone{List: "o1", Robot: "r1"}, completes), reports(1, mall.OutcomePicked, 2), nil, ""},
		"picked too few":               {assigned, reports(1, mall.OutcomePicked, 1), nil, "wrong_quantity"},
		"short":                        {assigned, reports(2, mall.OutcomeShort, 0), events(noTea), ""},
		"short of nothing":             {assigned, reports(2, mall.OutcomeShort, 1), nil, "wrong_quantity"},
		"blocked":                      {assigned, reports(2, mall.OutcomeBlocked, 0), events(event.StopBlocked{List: "o1", Order: "o1", Stop: 2, Robot: "r1"}), ""},
		"no such stop":                 {assigned, reports(3, mall.OutcomePicked, 1), nil, "stop_unknown"},
		"no such list":                 {nil, reports(1, mall.OutcomePicked, 2), nil, "list_unknown"},
		"of another assignment":        {assigned, late(reports(1, mall.OutcomePicked, 2)), nil, "assignment_replaced"},
		"from a robot that is lost":    {gone, reports(1, mall.OutcomePicked, 2), nil, "assignment_replaced"},
		"of a list that was cancelled": {append(assigned[:3:3], event.ShoppingListCanceled{List: "o1", Order: "o1", Reason: "x"}), reports(1, mall.OutcomePicked, 2), nil, "list_canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(backbonetest.Given(t, Service(Config{}), c.given...).When(c.when), c.then, c.refused)
		})
	}
}

func expect(o *backbonetest.Outcome, then []backbone.Event, refused string) {
	if refused != "" {
		o.ThenRefused(refused, then...)
		return
	}
	o.Then(then...)
}

// What concerns list, robot and floor together.
func TestAssignments(t *testing.T) {
	t.Parallel()
	placed := StorePlaced{Store: "s1", At: inS1}
	matched := JobMatched{Robot: "r1", Job: job}
	calm := robots.Append("r1", joined, heard, idle)
	busy := robots.Append("r1", joined, heard, idle, tasked, isAssigned)
	freed := RobotFreed{Robot: "r1", List: "o1", Expires: until}
	done := PickerDone{List: "o1", Robot: "r1"}
	for name, c := range map[string]struct {
		given   []backbone.Append
		when    backbone.Command
		then    []backbone.Event
		refused string
	}{
		"initiated, nobody idle": {
			[]backbone.Append{lists.Append("o1", created), floors.Append(theFloor, placed)},
			command.InitiateShopping{List: "o1"},
			events(offered, JobQueued(job)), "",
		},
		"initiated, the nearest is idle": {
			[]backbone.Append{lists.Append("o1", created), floors.Append(theFloor, placed,
				RobotOffered{Robot: "r0", At: mall.Place{X: 9000}}, RobotOffered{Robot: "r1", At: mall.Place{X: 900}}, RobotOffered{Robot: "r2"})},
			command.InitiateShopping{List: "o1"},
			events(offered, matched), "",
		},
		"given": {
			[]backbone.Append{lists.Append("o1", created, offered), calm, floors.Append(theFloor, placed, JobQueued(job), matched)},
			command.AssignList{List: "o1", Robot: "r1"},
			events(given, tasked, isAssigned, MatchEnded{Robot: "r1"}), "",
		},
		"given by hand": {
			[]backbone.Append{lists.Append("o1", created, offered), calm, floors.Append(theFloor, placed, RobotOffered{Robot: "r1"}, JobQueued(job))},
			command.AssignList{List: "o1", Robot: "r1"},
			events(given, tasked, isAssigned, RobotTaken{Robot: "r1"}, JobDropped{List: "o1"}), "",
		},
		"given, but cancelled": {
			[]backbone.Append{lists.Append("o1", created, event.ShoppingListCanceled{List: "o1", Order: "o1", Reason: "x"}), calm, floors.Append(theFloor, matched)},
			command.AssignList{List: "o1", Robot: "r1"},
			events(MatchEnded{Robot: "r1"}, RobotOffered{Robot: "r1", At: mall.Place{X: 7}}), "list_canceled",
		},
		"given, but the robot is lost": {
			[]backbone.Append{lists.Append("o1", created, offered), robots.Append("r1", joined, heard, idle, event.RobotLost{Robot: "r1"}), floors.Append(theFloor, placed, matched)},
			command.AssignList{List: "o1", Robot: "r1"},
			events(MatchEnded{Robot: "r1"}, JobQueued(job)), "not_idle",
		},
		"given twice": {
			[]backbone.Append{lists.Append("o1", created, offered, given), busy},
			command.AssignList{List: "o1", Robot: "r1"},
			nil, "not_available",
		},
		"a second list": {
			[]backbone.Append{lists.Append("o2", created, offered), busy},
			command.AssignList{List: "o2", Robot: "r1"},
			nil, "not_idle",
		},
		"handed in": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp, gotTea)},
			command.DeliverItems{List: "o1", Robot: "r1", Lines: both},
			events(handedIn), "",
		},
		"handed in twice": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp, gotTea, handedIn)},
			command.DeliverItems{List: "o1", Robot: "r1", Lines: both},
			nil, "",
		},
		"handed in what it does not have": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp)},
			command.DeliverItems{List: "o1", Robot: "r1", Lines: both},
			nil, "other_lines",
		},
		"done": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp, gotTea, handedIn), busy},
			command.CompleteList{List: "o1", Robot: "r1"},
			events(done, completes, freed, idle, RobotOffered{Robot: "r1", At: mall.Place{X: 7}}), "",
		},
		"done without handing in": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp, noTea), busy},
			command.CompleteList{List: "o1", Robot: "r1"},
			nil, "carries_goods",
		},
		"done before the end": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp, event.ItemsDelivered{List: "o1", Order: "o1", Robot: "r1", Lines: lamps}), busy},
			command.CompleteList{List: "o1", Robot: "r1"},
			nil, "stops_open",
		},
		"nothing was there": {
			[]backbone.Append{lists.Append("o1", created, offered, given, event.StopShort{List: "o1", Order: "o1", Stop: 1, Robot: "r1", SKU: "lamp", Wanted: 2}, noTea), busy},
			command.CompleteList{List: "o1", Robot: "r1"},
			events(done, event.ShoppingListCompleted{List: "o1", Order: "o1", Lines: []mall.Line{}, Missing: both}, freed, idle, RobotOffered{Robot: "r1", At: mall.Place{X: 7}}), "",
		},
		"a stop is blocked": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp,
				event.StopBlocked{List: "o1", Order: "o1", Stop: 2, Robot: "r1"}, event.ItemsDelivered{List: "o1", Order: "o1", Robot: "r1", Lines: lamps}), busy},
			command.CompleteList{List: "o1", Robot: "r1"},
			events(done, offered, JobPutOff{List: "o1"}, freed, idle, RobotOffered{Robot: "r1", At: mall.Place{X: 7}}), "",
		},
		"cancelled before there was one": {nil, command.CancelList{List: "o1", Reason: "x"}, events(ListBarred{List: "o1", Reason: "x"}), ""},
		"cancelled on the way": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp)},
			command.CancelList{List: "o1", Reason: "x"},
			events(RobotCalledOff{List: "o1", Robot: "r1"}, event.ShoppingListCanceled{List: "o1", Order: "o1", Reason: "x", Return: lamps}), "",
		},
		"cancelled at the end": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp, gotTea, handedIn, done, completes)},
			command.CancelList{List: "o1", Reason: "x"},
			events(event.ShoppingListCanceled{List: "o1", Order: "o1", Reason: "x", Return: both}), "",
		},
		"cancelled twice": {
			[]backbone.Append{lists.Append("o1", created, event.ShoppingListCanceled{List: "o1", Order: "o1", Reason: "x"})},
			command.CancelList{List: "o1", Reason: "y"},
			nil, "",
		},
		"cancelled while it waits": {
			[]backbone.Append{lists.Append("o1", created, offered), floors.Append(theFloor, JobQueued(job))},
			command.CancelList{List: "o1", Reason: "x"},
			events(event.ShoppingListCanceled{List: "o1", Order: "o1", Reason: "x"}, JobDropped{List: "o1"}), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(backbonetest.GivenStreams(t, Service(Config{}), c.given...).When(c.when), c.then, c.refused)
		})
	}
}

// Robots: heard of, not heard of, sent to charge.
func TestRobots(t *testing.T) {
	t.Parallel()
	low, full := says, says
	low.Battery = lowBattery - 1
	full.State = mall.RobotCharging
	renewed := LeaseRenewed{Robot: "r1", Battery: 90, At: mall.Place{X: 7}, Expires: until}
	lowRenewed, lowIdle := renewed, idle
	lowRenewed.Battery, lowIdle.Battery = low.Battery, low.Battery
	lapse := ExpireLease{Robot: "r1", Until: until, List: "o1"}
	busy := robots.Append("r1", joined, heard, idle, tasked, isAssigned)
	taskedRenewed := renewed
	taskedRenewed.List = "o1"
	for name, c := range map[string]struct {
		given   []backbone.Append
		when    backbone.Command
		then    []backbone.Event
		refused string
	}{
		"heard of first": {
			[]backbone.Append{robots.Append("r1", joined)},
			says,
			events(renewed, idle, RobotOffered{Robot: "r1", At: mall.Place{X: 7}}), "",
		},
		"heard of, a list waits": {
			[]backbone.Append{robots.Append("r1", joined), floors.Append(theFloor, JobQueued(job))},
			says,
			events(renewed, idle, JobMatched{Robot: "r1", Job: job}), "",
		},
		"idle, since it does not know yet": {[]backbone.Append{busy}, says, events(taskedRenewed), ""},
		"idle and low": {
			[]backbone.Append{robots.Append("r1", joined)},
			low,
			events(lowRenewed, lowIdle, event.RobotSteered{Robot: "r1", Steer: mall.SteerCharge}), "",
		},
		"charges": {
			[]backbone.Append{robots.Append("r1", joined, heard, idle), floors.Append(theFloor, RobotOffered{Robot: "r1"})},
			full,
			events(renewed, event.RobotChanged{Robot: "r1", State: mall.RobotCharging, Battery: 90, At: mall.Place{X: 7}}, RobotTaken{Robot: "r1"}), "",
		},
		"unknown": {nil, says, nil, "robot_unknown"},
		"retired": {[]backbone.Append{robots.Append("r1", joined, event.RobotRetired{Robot: "r1"})}, says, nil, "robot_retired"},
		"lost with what it carries": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp), busy},
			lapse,
			events(event.RobotLost{Robot: "r1", List: "o1", Order: "o1", Lines: lamps, At: mall.Place{X: 7}}, lostAt, offered,
				JobQueued{List: "o1"}, JobQueued{List: "o1", Lost: "r1", At: mall.Place{X: 7}}), "",
		},
		"lost with everything": {
			[]backbone.Append{lists.Append("o1", created, offered, given, gotLamp, gotTea), busy},
			lapse,
			events(event.RobotLost{Robot: "r1", List: "o1", Order: "o1", Lines: both, At: mall.Place{X: 7}}, lostAt,
				JobQueued{List: "o1", Lost: "r1", At: mall.Place{X: 7}}), "",
		},
		"lost before it heard of its list": {
			[]backbone.Append{lists.Append("o1", created, offered, given), busy},
			lapse,
			events(event.RobotLost{Robot: "r1", List: "o1", Order: "o1", At: mall.Place{X: 7}}, lostAt, offered, JobQueued{List: "o1"}), "",
		},
		"heard of just before": {
			[]backbone.Append{lists.Append("o1", created, offered, given), robots.Append("r1", joined, heard, idle, tasked, isAssigned,
				LeaseRenewed{Robot: "r1", List: "o1", Expires: until + 1})},
			lapse, nil, "",
		},
		"called off":               {[]backbone.Append{busy}, FreeRobot{Robot: "r1", List: "o1"}, events(RobotFreed{Robot: "r1", List: "o1", Stopping: true, Expires: until}), ""},
		"called off another list":  {[]backbone.Append{busy}, FreeRobot{Robot: "r1", List: "o2"}, nil, ""},
		"retired at work":          {[]backbone.Append{busy}, command.RetireRobot{Robot: "r1"}, nil, "robot_working"},
		"steered away":             {[]backbone.Append{robots.Append("r1", joined, heard, idle), floors.Append(theFloor, RobotOffered{Robot: "r1"})}, command.SteerRobot{Robot: "r1", Steer: mall.SteerPause}, events(event.RobotSteered{Robot: "r1", Steer: mall.SteerPause}, RobotTaken{Robot: "r1"}), ""},
		"steered, never heard of":  {[]backbone.Append{robots.Append("r1", joined)}, command.SteerRobot{Robot: "r1", Steer: mall.SteerPause}, nil, "robot_offline"},
		"joined":                   {nil, command.RegisterRobot(joined), events(joined), ""},
		"joined twice":             {[]backbone.Append{robots.Append("r1", joined)}, command.RegisterRobot(joined), nil, ""},
		"back by a person's doing": {[]backbone.Append{robots.Append("r1", joined, event.RobotRetired{Robot: "r1"})}, command.RegisterRobot(joined), events(joined), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(backbonetest.GivenStreams(t, Service(Config{}), c.given...).When(c.when), c.then, c.refused)
		})
	}
	backbonetest.GivenStreams(t, Service(Config{}), robots.Append("r1", joined, event.RobotRetired{Robot: "r1"})).
		By("robot:r1").When(command.RegisterRobot(joined)).ThenRefused("robot_retired")
}

// What a lost robot carries is fetched by another, by a person, or brought by itself.
func TestRecovery(t *testing.T) {
	t.Parallel()
	history := events(created, offered, given, gotLamp, lostAt, offered)
	sent := event.RecoveryAssigned{List: "o1", Order: "o1", Lost: "r1", Robot: "r2", Update: 2, Lines: lamps, At: mall.Place{X: 7}}
	fetch := Job{List: "o1", Lost: "r1", At: mall.Place{X: 7}}
	second := func(e ...backbone.Event) backbone.Append {
		return robots.Append("r2", append(events(event.RobotRegistered{Robot: "r2", Carries: 10},
			LeaseRenewed{Robot: "r2", Expires: until}, event.RobotChanged{Robot: "r2", State: mall.RobotIdle}), e...)...)
	}
	recovered := event.ItemsRecovered{List: "o1", Order: "o1", Lost: "r1", Robot: "r2", Lines: lamps}
	for name, c := range map[string]struct {
		given   []backbone.Append
		when    backbone.Command
		then    []backbone.Event
		refused string
	}{
		"sent": {
			[]backbone.Append{lists.Append("o1", history...), second(), floors.Append(theFloor, JobMatched{Robot: "r2", Job: fetch})},
			AssignRecovery{List: "o1", Lost: "r1", Robot: "r2"},
			events(sent, RobotTasked{Robot: "r2", List: "o1", Lost: "r1", Update: 2, Expires: until},
				event.RobotChanged{Robot: "r2", State: mall.RobotAssigned}, MatchEnded{Robot: "r2"}), "",
		},
		"fetched":           {[]backbone.Append{lists.Append("o1", append(history, sent)...)}, command.RecoverItems{List: "o1", Lost: "r1", Robot: "r2"}, events(recovered), ""},
		"fetched by none":   {[]backbone.Append{lists.Append("o1", history...)}, command.RecoverItems{List: "o1", Lost: "r1", Robot: "r2"}, nil, "nothing_lost"},
		"fetched twice":     {[]backbone.Append{lists.Append("o1", append(history, sent, recovered)...)}, command.RecoverItems{List: "o1", Lost: "r1", Robot: "r2"}, nil, "nothing_lost"},
		"fetched by person": {[]backbone.Append{lists.Append("o1", append(history, sent)...)}, command.RecoverItems{List: "o1", Lost: "r1"}, events(event.ItemsRecovered{List: "o1", Order: "o1", Lost: "r1", Lines: lamps}), ""},
		"brought by itself": {
			[]backbone.Append{lists.Append("o1", history...), floors.Append(theFloor, JobQueued(fetch))},
			command.DeliverItems{List: "o1", Robot: "r1", Lines: lamps},
			events(event.ItemsRecovered{List: "o1", Order: "o1", Lost: "r1", Robot: "r1", Lines: lamps},
				event.ItemsDelivered{List: "o1", Order: "o1", Robot: "r1", Lines: lamps}, JobDropped{List: "o1", Lost: "r1"}), "",
		},
		"the fetcher is lost on its way": {
			[]backbone.Append{lists.Append("o1", append(history, sent)...), second(RobotTasked{Robot: "r2", List: "o1", Lost: "r1", Update: 2, Expires: until})},
			ExpireLease{Robot: "r2", Until: until, List: "o1"},
			events(event.RobotLost{Robot: "r2", List: "o1", Order: "o1"}, CarrierLost{List: "o1", Robot: "r2"}, JobQueued(fetch)), "",
		},
		"the fetcher is lost with it": {
			[]backbone.Append{lists.Append("o1", append(history, sent, recovered)...), second(RobotTasked{Robot: "r2", List: "o1", Lost: "r1", Update: 2, Expires: until})},
			ExpireLease{Robot: "r2", Until: until, List: "o1"},
			events(event.RobotLost{Robot: "r2", List: "o1", Order: "o1", Lines: lamps}, CarrierLost{List: "o1", Robot: "r2"}, JobQueued{List: "o1", Lost: "r2"}), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(backbonetest.GivenStreams(t, Service(Config{}), c.given...).When(c.when), c.then, c.refused)
		})
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	history := events()
	seen := map[mall.Place]bool{}
	for _, store := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		out := backbonetest.Given(t, Service(Config{}), history...).When(PlaceStore{Store: store}).Events()
		at := out[0].(StorePlaced).At
		if seen[at] {
			t.Errorf("%s lies where another does: %v", store, at)
		}
		seen[at], history = true, append(history, out...)
	}
	backbonetest.Given(t, Service(Config{}), history...).When(PlaceStore{Store: "a"}).ThenNothing()
	backbonetest.Given(t, Service(Config{}), history...).When(PlaceStore{Store: "z", At: &mall.Place{X: 3}}).ThenRefused(ErrStoreUnknown.Code)
	for _, wrong := range []PlaceStore{{}, {Store: "a b"}, {Store: "a", At: &mall.Place{X: maxAcross + 1}}, {Store: "a", At: &mall.Place{Y: -maxAcross - 1}}} {
		if wrong.Validate() == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
	backbonetest.Given(t, Service(Config{}), history...).When(PlaceStore{Store: "a", At: &mall.Place{X: 3}}).Then(StorePlaced{Store: "a", At: mall.Place{X: 3}})
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	m := backbone.Meta{Time: backbonetest.Epoch}
	for name, c := range map[string]struct{ got, want []backbone.Effect }{
		"a match is given":      {assignWhenMatched(JobMatched{Robot: "r1", Job: job}, m), []backbone.Effect{backbone.Send(command.AssignList{List: "o1", Robot: "r1"})}},
		"a recovery is given":   {assignWhenMatched(JobMatched{Robot: "r2", Job: Job{List: "o1", Lost: "r1"}}, m), []backbone.Effect{backbone.Send(AssignRecovery{List: "o1", Lost: "r1", Robot: "r2"})}},
		"put off":               {offerWhenPutOff(JobPutOff{List: "o1"}, m), []backbone.Effect{backbone.SetTimer("offer/o1/", m.Time.Add(putOff), OfferJob{List: "o1"})}},
		"called off":            {freeWhenCalledOff(RobotCalledOff{List: "o1", Robot: "r1"}, m), []backbone.Effect{backbone.Send(FreeRobot{Robot: "r1", List: "o1"})}},
		"a lease with a list":   {watchWhenTasked(tasked, m), []backbone.Effect{backbone.SetTimer("lease/r1", m.Time.Add(DefaultLease), ExpireLease{Robot: "r1", Until: until, List: "o1"})}},
		"a lease without":       {watchWhenFreed(RobotFreed{Robot: "r1", List: "o1", Expires: until}, m), []backbone.Effect{backbone.SetTimer("lease/r1", m.Time.Add(DefaultLease), ExpireLease{Robot: "r1", Until: until})}},
		"a lease that goes on":  {watchWhenRenewed(heard, m), []backbone.Effect{backbone.SetTimer("lease/r1", m.Time.Add(DefaultLease), ExpireLease{Robot: "r1", Until: until})}},
		"no lease of a retiree": {forgetWhenRetired(event.RobotRetired{Robot: "r1"}, m), []backbone.Effect{backbone.CancelTimer("lease/r1")}},
		"a store gets a place":  {placeWhenCreated(event.StoreCreated{Store: "s1"}, m), []backbone.Effect{backbone.Send(PlaceStore{Store: "s1"})}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, c.got, c.want)
		}
	}
}

// stores stands in for the service of this name: it owns an event.
func stores() *backbone.Service {
	all := &backbone.Aggregate[bool]{
		Name: "store", Public: []backbone.Event{event.StoreCreated{}},
		Evolve: func(bool, backbone.Event) bool { return true },
	}
	return &backbone.Service{Name: "stores", About: "Stands in.", Handles: []backbone.Handler{
		backbone.Decide(all, func(bool, command.CreateStore, backbone.Meta) ([]backbone.Event, error) { return nil, nil }),
	}}
}

// The service as it runs: a robot that is not heard of any more loses its list to another, which fetches everything.
func TestLeaseEndsByItself(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{Service(Config{}), stores()}})
	beat := func(robot string, state mall.RobotState) {
		w.Do(t, command.RenewLease{Robot: robot, State: state, Battery: 90})
	}
	for _, robot := range []string{"r1", "r2"} {
		w.Do(t, command.RegisterRobot{Robot: robot, Carries: 10})
	}
	beat("r1", mall.RobotIdle)
	w.Do(t, wanted)
	w.Do(t, command.InitiateShopping{List: "o1"})
	w.Settle(t)
	w.Do(t, reports(1, mall.OutcomePicked, 2))
	w.Pass(t, DefaultLease-time.Second)
	task, err := TaskOf(t.Context(), w.Reader(ServiceName), "r1")
	if err != nil || task == nil || task.Update != 1 || len(task.Done) != 1 || !reflect.DeepEqual(task.Carries, lamps) {
		t.Fatalf("a robot within its lease: %+v %v", task, err)
	}
	w.Pass(t, 2*time.Second)
	if task, err = TaskOf(t.Context(), w.Reader(ServiceName), "r1"); task != nil || err != nil {
		t.Fatalf("a robot beyond its lease: %+v %v", task, err)
	}
	beat("r2", mall.RobotIdle)
	w.Settle(t)
	w.Do(t, command.ReportStop{List: "o1", Stop: 2, Robot: "r2", Update: 2, Outcome: mall.OutcomePicked, Picked: 1})
	w.Do(t, command.DeliverItems{List: "o1", Robot: "r2", Lines: both[1:]})
	w.Do(t, command.CompleteList{List: "o1", Robot: "r2"})
	w.Settle(t)
	if task, err = TaskOf(t.Context(), w.Reader(ServiceName), "r2"); err != nil || task == nil || task.Lost != "r1" || !reflect.DeepEqual(task.Lines, lamps) {
		t.Fatalf("the recovery: %+v %v", task, err)
	}
	w.Do(t, command.RecoverItems{List: "o1", Lost: "r1", Robot: "r2"})
	w.Do(t, command.DeliverItems{List: "o1", Robot: "r2", Lines: lamps})
	w.Do(t, command.CompleteList{List: "o1", Robot: "r2"})
	w.Settle(t)
	last := backbone.Event(nil)
	for _, e := range w.Events(t, ServiceName) {
		if c, ok := e.(event.ShoppingListCompleted); ok {
			last = c
		}
	}
	if !reflect.DeepEqual(last, completes) {
		t.Errorf("%+v", last)
	}
	if l, found, err := ListOf(t.Context(), w.Reader(ServiceName), "o1"); err != nil || !found || l.State != string(completed) {
		t.Errorf("%+v %v", l, err)
	}
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	at := mall.Place{X: 1000, Y: 2000}
	j := Job{List: "ORDER_001", Lost: "ROBOT_001", At: at}
	backbonetest.Frozen(t,
		StorePlaced{Store: "STORE_001", At: at}, RobotOffered{Robot: "ROBOT_001", At: at}, RobotTaken{Robot: "ROBOT_001"},
		JobQueued(j), JobDropped{List: "ORDER_001", Lost: "ROBOT_001"}, JobMatched{Robot: "ROBOT_002", Job: j}, MatchEnded{Robot: "ROBOT_002"},
		ListBarred{List: "ORDER_001", Reason: mall.ReasonOrderCanceled}, JobPutOff{List: "ORDER_001", Lost: "ROBOT_001"},
		PickerDone{List: "ORDER_001", Robot: "ROBOT_001"}, CarrierLost{List: "ORDER_001", Robot: "ROBOT_001", At: at},
		RobotCalledOff{List: "ORDER_001", Robot: "ROBOT_001"},
		LeaseRenewed{Robot: "ROBOT_001", List: "ORDER_001", Battery: 80, At: at, Expires: 1_790_000_000_000_000},
		RobotTasked{Robot: "ROBOT_002", List: "ORDER_001", Lost: "ROBOT_001", Update: 2, Expires: 1_790_000_000_000_000},
		RobotFreed{Robot: "ROBOT_001", List: "ORDER_001", Stopping: true, Expires: 1_790_000_000_000_000},
		PlaceStore{Store: "STORE_001", At: &at}, OfferJob{List: "ORDER_001", Lost: "ROBOT_001"},
		AssignRecovery{List: "ORDER_001", Lost: "ROBOT_001", Robot: "ROBOT_002"},
		ExpireLease{Robot: "ROBOT_001", Until: 1_790_000_000_000_000, List: "ORDER_001"}, FreeRobot{Robot: "ROBOT_001", List: "ORDER_001"},
	)
}
