package depot

import (
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// putOff is how long a job waits that was blocked, or that found no room on the floor.
const putOff = 30 * time.Second

func assignWhenMatched(e JobMatched, _ backbone.Meta) []backbone.Effect {
	if e.Job.Lost != "" {
		return []backbone.Effect{backbone.Send(AssignRecovery{List: e.Job.List, Lost: e.Job.Lost, Robot: e.Robot})}
	}
	return []backbone.Effect{backbone.Send(command.AssignList{List: e.Job.List, Robot: e.Robot})}
}

func offerWhenPutOff(e JobPutOff, m backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.SetTimer("offer/"+e.List+"/"+e.Lost, m.Time.Add(putOff), OfferJob(e))}
}

func freeWhenCalledOff(e RobotCalledOff, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(FreeRobot{Robot: e.Robot, List: e.List})}
}

func watchWhenRenewed(e LeaseRenewed, _ backbone.Meta) []backbone.Effect {
	return watch(e.Robot, e.List, e.Expires)
}

func watchWhenTasked(e RobotTasked, _ backbone.Meta) []backbone.Effect {
	return watch(e.Robot, e.List, e.Expires)
}

func watchWhenFreed(e RobotFreed, _ backbone.Meta) []backbone.Effect {
	return watch(e.Robot, "", e.Expires)
}

func watch(robot, list string, until int64) []backbone.Effect {
	return []backbone.Effect{backbone.SetTimer(lease(robot), time.UnixMicro(until).UTC(),
		ExpireLease{Robot: robot, Until: until, List: list})}
}

func forgetWhenRetired(e event.RobotRetired, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(lease(e.Robot))}
}

func lease(robot string) string { return "lease/" + robot }

func placeWhenCreated(e event.StoreCreated, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(PlaceStore{Store: e.Store})}
}
