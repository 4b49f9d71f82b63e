package store

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"example.org/souk/internal/testserver"
)

// everyWay are tests that run with every service in a process of its own as well, on PostgreSQL: the same functions. They meet the mall through
// the online store, the command line and what stands around it, so that it is nothing to them which process does what.
//
// Not among them are those that look at one process or at its file (E5_DatabaseLocked, E5_DiskFull, F9_ClaimOfADeadProcess, Migrate, the backups,
// F16_TheForgottenStayForgotten, which has its like on PostgreSQL), that work on a mall of which nothing runs (CatalogueAsAFile), that empty the world, which one of
// several processes may not (F9_KeyOutlivesTheProcess), and those that are of processes anyway.
var everyWay = []struct {
	name string
	test func(*testing.T)
	long bool // make prove runs it
}{
	{"E1_SeedAndReset", TestE1_SeedAndReset, false},
	{"E2_PostedAHundredTimes", TestE2_PostedAHundredTimes, false},
	{"E3_OtherContent", TestE3_OtherContent, false},
	{"E4_Feed", TestE4_Feed, false},
	{"E6_TheLastTen", TestE6_TheLastTen, false},
	{"E7B8_CancelAtAnyMoment", TestE7B8_CancelAtAnyMoment, false},
	{"C4_D1_AcceptedIsDurable", TestC4D1_AcceptedIsDurable, false},
	{"D4_AllOrNothing", TestD4_AllOrNothing, false},
	{"F9_IdempotencyKey", TestF9_IdempotencyKey, false},
	{"B13_ReplayEqualsLive", TestB13_ReplayEqualsLive, false},
	{"B17_EachByTheChannelThatTheyWant", TestB17_EachByTheChannelThatTheyWant, false},
	{"F11_Flood", TestF11_Flood, false},
	{"F12_InFlightIsAnswered", TestF12_InFlightIsAnswered, false},
	{"B2B10B11_ABasketByCurl", TestB2B10B11_ABasketByCurl, false},
	{"B4_PayingBeforehandAtAKiosk", TestB4_PayingBeforehandAtAKiosk, false},
	{"B5B9_RefusedAtEachStep", TestB5B9_RefusedAtEachStep, false},
	{"B5_Deadlines", TestB5_Deadlines, true},
	{"B5B8_CancelBetween", TestB5B8_CancelBetween, true},
	{"B5_VoidIsRetried", TestB5_VoidIsRetried, true},
	{"B6_B17_Mail", TestB6B17_Mail, true},
	{"B7_AThousandOrders", TestB7_AThousandOrders, false},
	{"B16_PeopleAtAKiosk", TestB16_PeopleAtAKiosk, false},
	{"B16_OrderingAgainAtAKiosk", TestB16_OrderingAgainAtAKiosk, true},
	{"B18_AnOrderIsFoundWithinTwoSeconds", TestB18_AnOrderIsFoundWithinTwoSeconds, false},
	{"C4_OrdersOfPrograms", TestC4_OrdersOfPrograms, false},
	{"D5_AuditTrail", TestD5_AuditTrail, false},
	{"D5_TamperingIsNamed", TestD5_TamperingIsNamed, true},
	{"D6_RebuildDoesNothingOutside", TestD6_RebuildDoesNothingOutside, true},
	{"E8_SameIdsAfterKill", TestE8_SameIdsAfterKill, true},
	{"E9_F5_PoisonIsParked", TestE9F5_PoisonIsParked, false},
	{"E9_Discard", TestE9_Discard, true},
	{"F9_KeysUnderKill", TestF9_KeysUnderKill, true},
	{"F16_NothingPersonalInTheClear", TestF16_NothingPersonalInTheClear, false},
	{"F16_NoCardNumberComesIn", TestF16_NoCardNumberComesIn, true},
	{"B1_NothingBreaksOverTheWire", TestB1_NothingBreaksOverTheWire, false},
	{"B1_NothingBreaksOverStreams", TestB1_NothingBreaksOverStreams, true},
	{"B12_MistakesAreNamedOverTheWire", TestB12_MistakesAreNamedOverTheWire, false},
	{"B3_Scenarios", TestB3_Scenarios, true},
	{"B5_StuckUndo", TestB5_StuckUndo, true},
	{"E5D2_InventoryAbsent", TestE5D2_InventoryAbsent, true},
	{"E5D2_MailServerGone", TestE5D2_MailServerGone, true},
	{"E5_ProviderPaused", TestE5_ProviderPaused, true},
	{"E5_ServicePaused", TestE5_ServicePaused, true},
	{"E6_BackorderResumes", TestE6_BackorderResumes, true},
	{"MoneyThatNobodyTakes", TestMoneyThatNobodyTakes, true},
	{"OrdersWhileTheirMoneyLapses", TestOrdersWhileTheirMoneyLapses, true},
	{"Callback_BeforeTheAnswer", TestCallback_BeforeTheAnswer, true},
	{"Callback_Twice", TestCallback_Twice, true},
	{"Callback_Never", TestCallback_Never, true},
	{"Callback_Forged", TestCallback_Forged, true},
	{"Callback_NoSecret", TestCallback_NoSecret, true},
	{"Callback_Kill9AfterItsAnswer", TestCallback_Kill9AfterItsAnswer, true},
	{"Callback_Kill9WhileTheyComeIn", TestCallback_Kill9WhileTheyComeIn, true},
	{"Callback_OfTheOwnStandIn", TestCallback_OfTheOwnStandIn, true},
	{"CommandLine", TestCommandLine, true},
	{"OrderPlaceAndCustomerRegister", TestOrderPlaceAndCustomerRegister, true},
	{"BasketsByTheCommandLine", TestBasketsByTheCommandLine, true},
	{"D6_EventReplay", TestD6_EventReplay, true},
	{"F6_RetentionOfAMall", TestF6_RetentionOfAMall, true},
	{"F12_GracefulStop", TestF12_GracefulStop, true},
	{"ConsoleIsAlive", TestConsoleIsAlive, true},
	{"Metrics", TestMetrics, true},
	{"MetricsAreForEngineers", TestMetricsAreForEngineers, true},
}

// B20: what holds in one process holds where every service has one of its own.
func TestB20_InProcesses(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	inProcesses(t, false, func(t *testing.T) []string { return nil })
}

// B20: it holds where every service has a database of its own too.
func TestB20_DatabasesOfProcesses(t *testing.T) {
	if !provingAll(t) {
		return
	}
	inProcesses(t, true, func(t *testing.T) []string { return nil })
}

// B20: it holds where a broker carries their messages: NATS, RabbitMQ, Kafka's protocol.
func TestB20_InProcessesOverNATS(t *testing.T)     { overBroker(t, "nats") }
func TestB20_InProcessesOverRabbitMQ(t *testing.T) { overBroker(t, "rabbitmq") }
func TestB20_InProcessesOverKafka(t *testing.T)    { overBroker(t, "kafka") }

func overBroker(t *testing.T, name string) {
	if !provingAll(t) {
		return
	}
	inProcesses(t, false, func(t *testing.T) []string {
		flags, _ := carrier(t, name)
		return flags
	})
}

// B20: partners find the mall as ever where every service has a process of its own. The log carries what these say to each other; the broker is the
// partners'.
func TestB20_PartnersOfProcesses(t *testing.T) {
	if !provingAll(t) {
		return
	}
	separate(t, false, func(t *testing.T) []string { return nil })
	t.Run("Kafka", TestPartnersAtKafka)
	t.Run("NATS", TestPartnersAtNATS)
	t.Run("RabbitMQ", TestPartnersAtRabbitMQ)
}

// provingAll tells whether what takes hours is to be shown as well.
func provingAll(t *testing.T) bool {
	t.Helper()
	if os.Getenv("SOUK_PROVE") != "full" {
		t.Log("this takes minutes: make prove runs it")
		return false
	}
	return true
}

// inProcesses runs the tests with every service in a process of its own. carried returns the flags for what carries their messages, which each test
// has for itself.
func inProcesses(t *testing.T, each bool, carried func(*testing.T) []string) {
	separate(t, each, carried)
	for _, e := range everyWay {
		if !e.long || os.Getenv("SOUK_PROVE") == "full" {
			t.Run(e.name, e.test)
		}
	}
}

// separate has the malls of a test, and of its parts, run so.
func separate(t *testing.T, each bool, carried func(*testing.T) []string) {
	atOnce := flag.Lookup("test.parallel").Value.(flag.Getter).Get().(int)
	room := fmt.Sprintf("max_connections=%d", 400*atOnce) // a mall with a database a service takes more than 200 when it begins
	ways.Store(t.Name(), &way{server: testserver.PostgresOwn(t, room), each: each, carried: carried, databases: map[string]string{}, carriers: map[string][]string{}})
}

// ways are the tests whose parts run in another way than in one process, by name.
var ways sync.Map

// way is how the parts of a test run: with every service in a process of its own, on a server for all of them.
type way struct {
	server  *testserver.Server
	each    bool // a database a service
	carried func(*testing.T) []string

	mu        sync.Mutex
	databases map[string]string   // by the directory of the mall
	carriers  map[string][]string // likewise, the flags
}

// separately returns the way of the test that this one is a part of, nil where its mall is one process.
func separately(t *testing.T) *way {
	top, _, _ := strings.Cut(t.Name(), "/")
	if w, ok := ways.Load(top); ok {
		return w.(*way)
	}
	return nil
}

// known returns what mallIn has made for the mall in a directory, and nothing where there is none.
func (w *way) known(dir string) (database string, flags []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.databases[dir], w.carriers[dir]
}

// mallIn makes the database of the mall in a directory, and what carries its messages, once.
func (w *way) mallIn(t *testing.T, dir string) (database string, flags []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.databases[dir] == "" {
		w.databases[dir] = databasesOf(t, w.server, w.each)
		w.carriers[dir] = w.carried(t)
	}
	return w.databases[dir], w.carriers[dir]
}
