package robots

import (
	"testing"

	"example.org/souk/internal/testmall"
)

// everyWay are tests that run with every service in a process of its own as well, on PostgreSQL: the same functions.
var everyWay = []testmall.Test{
	{Name: "B15_RobotsCompleteListsNoneTwice", Test: TestB15_RobotsCompleteListsNoneTwice},
	{Name: "B15_KilledRobotsLoseTheirLists", Test: TestB15_KilledRobotsLoseTheirLists, Long: true},
	{Name: "B15_VanishedRobotsComeBack", Test: TestB15_VanishedRobotsComeBack, Long: true},
	{Name: "B15_FaultyRobotsAndARestart", Test: TestB15_FaultyRobotsAndARestart, Long: true},
	{Name: "B15_DrainedRobotsChargeFirst", Test: TestB15_DrainedRobotsChargeFirst, Long: true},
	{Name: "B4B8_OrdersThatRobotsFetch", Test: TestB4B8_OrdersThatRobotsFetch},
	{Name: "B4_ShortPicksAreDecidedOnce", Test: TestB4_ShortPicksAreDecidedOnce, Long: true},
	{Name: "ShoppersPay", Test: TestShoppersPay, Long: true},
	{Name: "Uncollected", Test: TestUncollected, Long: true},
	{Name: "B16_AKioskAndTheBoardInBrowsers", Test: TestB16_AKioskAndTheBoardInBrowsers, Long: true},
	{Name: "F10_OnlyRobotsWithALogin", Test: TestF10_OnlyRobotsWithALogin, Long: true},
}

// B20: what holds in one process holds where every service has one of its own.
func TestB20_InProcesses(t *testing.T) {
	t.Parallel()
	testmall.InProcesses(t, everyWay)
}
