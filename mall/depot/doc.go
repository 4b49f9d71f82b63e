// Package depot minds who fetches what: shopping lists, the robots that work on them, and who gets which.
//
// Decides: which robot gets which list (the nearest idle one; one that has just become idle gets the list that waits longest),
// what becomes of what a lost robot carried, when a list is done, when a robot is lost and when it has to charge.
//
// Keeps: a stream for each shopping list (list), one for each robot (robot), and one for the floor, where idle robots and waiting
// lists meet. The view fleet, inline, shows robots and what each is about; the view lists, inline, the lists; the view places
// where the stores are.
//
// Handles: CreateShoppingList, InitiateShopping, AssignList, ReportStop, DeliverItems, CompleteList, CancelList; RegisterRobot,
// RetireRobot, RenewLease, SteerRobot, RecoverItems; PlaceStore, which it sends itself as well; its own AssignRecovery, ExpireLease, OfferJob and FreeRobot.
//
// Subscribes: to stores.StoreCreated: each store gets a place on the floor.
//
// Refuses: store_unknown, list_unknown, list_exists, list_canceled (also what a late CreateShoppingList meets after its CancelList), list_over,
// not_available, not_idle, stop_unknown, stop_settled, wrong_quantity, assignment_replaced, carries_nothing, other_lines, carries_goods,
// stops_open, nothing_lost, robot_unknown, robot_retired, robot_working, robot_offline.
//
// A match is made on the floor and then given to list and robot in one decision, which asks once more whether both are still
// there; where one is not, the other goes back to the floor. So a robot never has two lists and a list never two robots.
//
// A robot that lets its lease run out is lost. It keeps what it carries. That is fetched by a task of its own (a recovery), which any
// idle robot gets, a person can do as well, or the robot itself, when it comes back and hands in what it has. Only what was not picked
// is given to another.
//
// A list may need several ways: a robot is given as many stops as it can carry, and at least one. A stop that was blocked is
// tried again after a while, by whichever robot is nearest then.
//
// What a robot carries of a cancelled list it takes back to where it lay. It is idle again when it says so.
package depot
