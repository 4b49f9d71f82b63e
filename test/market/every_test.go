package market

import (
	"os"
	"strings"
	"sync"
	"testing"

	"example.org/souk/internal/testserver"
)

// everyWay are tests that run with every service in a process of its own as well, on PostgreSQL: the same functions. They meet the supermarket by
// its devices, the command line and what stands around it, so that it is nothing to them which process does what.
var everyWay = []struct {
	name string
	test func(*testing.T)
	long bool // make prove runs it
}{
	{"A1_StockClients", TestA1_StockClients, false},
	{"A1_AcknowledgedIsDurable", TestA1_AcknowledgedIsDurable, false},
	{"A1_NotAcknowledgedUnlessDecided", TestA1_NotAcknowledgedUnlessDecided, true},
	{"A2_WelcomeWithinASecond", TestA2_WelcomeWithinASecond, false},
	{"OneVisitAtATime", TestOneVisitAtATime, true},
	{"A3A5_Departure", TestA3A5_Departure, false},
	{"A5_ThePriceOfTheMoment", TestA5_ThePriceOfTheMoment, false},
	{"A3_WhatIsNotOnHand", TestA3_WhatIsNotOnHand, true},
	{"A3_TagsCountOnce", TestA3_TagsCountOnce, true},
	{"A3_KilledBetween", TestA3_KilledBetween, false},
	{"A4_Restock", TestA4_Restock, false},
	{"A8_Isolation", TestA8_Isolation, true},
	{"A8_Logins", TestA8_Logins, false},
	{"A8_TLS", TestA8_TLS, true},
	{"DeviceExample", TestDeviceExample, true},
	{"A9_GateWithFaults", TestA9_GateWithFaults, false},
	{"A9_FaultsWhileItRuns", TestA9_FaultsWhileItRuns, true},
}

// B20: what holds in one process holds where every service has one of its own.
func TestB20_InProcesses(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	ways.Store(t.Name(), testserver.PostgresOwn(t, "max_connections=900"))
	for _, e := range everyWay {
		if !e.long || os.Getenv("SOUK_PROVE") == "full" {
			t.Run(e.name, e.test)
		}
	}
}

// ways are the servers of the tests whose parts run with every service in a process of its own, by name.
var ways sync.Map

// separately returns the server of the test that this one is a part of, nil where its souk is one process.
func separately(t *testing.T) *testserver.Server {
	top, _, _ := strings.Cut(t.Name(), "/")
	if server, ok := ways.Load(top); ok {
		return server.(*testserver.Server)
	}
	return nil
}

// proving tells whether what takes a minute is to be shown as well, as make prove-short asks for. What make test leaves out it says.
func proving(t *testing.T) bool {
	t.Helper()
	asked := os.Getenv("SOUK_PROVE") != ""
	if !asked {
		t.Log("this takes a minute: make prove-short runs it")
	}
	return asked
}
