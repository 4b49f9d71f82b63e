package market

import (
	"testing"

	"example.org/souk/internal/testmall"
)

// everyWay are tests that run with every service in a process of its own as well, on PostgreSQL: the same functions. They meet the supermarket by
// its devices, the command line and what stands around it, so that it is nothing to them which process does what.
var everyWay = []testmall.Test{
	{Name: "A1_StockClients", Test: TestA1_StockClients},
	{Name: "A1_AcknowledgedIsDurable", Test: TestA1_AcknowledgedIsDurable},
	{Name: "A1_NotAcknowledgedUnlessDecided", Test: TestA1_NotAcknowledgedUnlessDecided, Long: true},
	{Name: "A2_WelcomeWithinASecond", Test: TestA2_WelcomeWithinASecond},
	{Name: "OneVisitAtATime", Test: TestOneVisitAtATime, Long: true},
	{Name: "A3A5_Departure", Test: TestA3A5_Departure},
	{Name: "A5_ThePriceOfTheMoment", Test: TestA5_ThePriceOfTheMoment},
	{Name: "A3_WhatIsNotOnHand", Test: TestA3_WhatIsNotOnHand, Long: true},
	{Name: "A3_TagsCountOnce", Test: TestA3_TagsCountOnce, Long: true},
	{Name: "A3_KilledBetween", Test: TestA3_KilledBetween},
	{Name: "A4_Restock", Test: TestA4_Restock},
	{Name: "RestockLoopWithFaults", Test: TestRestockLoopWithFaults, Long: true},
	{Name: "A8_Isolation", Test: TestA8_Isolation, Long: true},
	{Name: "A8_Logins", Test: TestA8_Logins},
	{Name: "A8_TLS", Test: TestA8_TLS, Long: true},
	{Name: "DeviceExample", Test: TestDeviceExample, Long: true},
	{Name: "A9_GateWithFaults", Test: TestA9_GateWithFaults},
	{Name: "A9_FaultsWhileItRuns", Test: TestA9_FaultsWhileItRuns, Long: true},
	{Name: "F10_AGateIsOpenedByTwo", Test: TestF10_AGateIsOpenedByTwo, Long: true},
}

// B20: what holds in one process holds where every service has one of its own.
func TestB20_InProcesses(t *testing.T) {
	t.Parallel()
	testmall.InProcesses(t, everyWay)
}
