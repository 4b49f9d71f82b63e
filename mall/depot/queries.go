package depot

import (
	"context"
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Robot is a robot and what it is about.
type Robot struct {
	Robot   string
	Carries int64
	Home    mall.Place
	State   mall.RobotState
	Battery int64
	At      mall.Place // where it was when its lease was renewed last
	List    string     // that it has; empty: none
	Lost    string     // whose goods of the list it fetches; empty: it picks
	Update  int64
	Steer   mall.Steer // what it was told and has not done yet
}

const selectRobots = `SELECT robot, carries, home_x, home_y, state, battery, x, y, list, lost, upd, steer FROM {robots} `

// Robots returns up to limit robots in the order of their ids, after one.
func Robots(ctx context.Context, r *backbone.Reader, after string, limit int) ([]Robot, error) {
	return queryRobots(ctx, r, selectRobots+`WHERE robot > $1 ORDER BY robot LIMIT $2`, after, limit)
}

// RobotOf returns a robot, and whether it belongs to the fleet.
func RobotOf(ctx context.Context, r *backbone.Reader, id string) (Robot, bool, error) {
	list, err := queryRobots(ctx, r, selectRobots+`WHERE robot = $1`, id)
	if err != nil || len(list) == 0 {
		return Robot{}, false, err
	}
	return list[0], true, nil
}

func queryRobots(ctx context.Context, r *backbone.Reader, sql string, args ...any) ([]Robot, error) {
	rows, err := r.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("robots: %w", err)
	}
	defer rows.Close()
	var list []Robot
	for rows.Next() {
		var b Robot
		var state, steer string
		if err := rows.Scan(&b.Robot, &b.Carries, &b.Home.X, &b.Home.Y, &state, &b.Battery, &b.At.X, &b.At.Y, &b.List, &b.Lost, &b.Update, &steer); err != nil {
			return nil, fmt.Errorf("robots: %w", err)
		}
		b.State, b.Steer = mall.RobotState(state), mall.Steer(steer)
		list = append(list, b)
	}
	return list, rows.Err()
}

// List is a shopping list as the depot lists it.
type List struct {
	List, Order string
	State       string // pending, available, assigned, active, completed or canceled
	Robot       string // who picks or picked last; empty: nobody
	Stops       int64
	Settled     int64 // stops of which a robot has said what became of them
}

// Lists returns up to limit lists in the order of their ids, after one.
func Lists(ctx context.Context, r *backbone.Reader, after string, limit int) ([]List, error) {
	return queryLists(ctx, r, `WHERE list > $1 ORDER BY list LIMIT $2`, after, limit)
}

// OpenLists returns up to limit lists that are neither completed nor cancelled, the oldest first.
func OpenLists(ctx context.Context, r *backbone.Reader, limit int) ([]List, error) {
	return queryLists(ctx, r, `WHERE state NOT IN ($1, $2) ORDER BY created, list LIMIT $3`, string(completed), string(canceled), limit)
}

// ListOf returns a list, and whether there is one.
func ListOf(ctx context.Context, r *backbone.Reader, id string) (List, bool, error) {
	all, err := queryLists(ctx, r, `WHERE list = $1`, id)
	if err != nil || len(all) == 0 {
		return List{}, false, err
	}
	return all[0], true, nil
}

func queryLists(ctx context.Context, r *backbone.Reader, where string, args ...any) ([]List, error) {
	rows, err := r.Query(ctx, `SELECT list, ord, state, robot, stops, settled FROM {lists} `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("shopping lists: %w", err)
	}
	defer rows.Close()
	var all []List
	for rows.Next() {
		var l List
		if err := rows.Scan(&l.List, &l.Order, &l.State, &l.Robot, &l.Stops, &l.Settled); err != nil {
			return nil, fmt.Errorf("shopping lists: %w", err)
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

// Settled is a stop of which a robot has said what became of it.
type Settled struct {
	Stop    int64
	Outcome mall.Outcome
	Picked  int64
}

// Task is what a robot is to do.
type Task struct {
	List   string
	Update int64
	// Stops are to be picked, in this order; Places are theirs. Done is what the robot has reported of them.
	Stops  []mall.Stop
	Places []mall.Place
	Done   []Settled
	// Lost is the robot whose goods are fetched at At, Lines are these. Without it the robot picks.
	Lost  string
	At    mall.Place
	Lines []mall.Line
	// Carries is what the robot has of the list and has not handed in.
	Carries []mall.Line
}

// TaskOf returns what a robot is to do, nil for nothing. It is that of one moment, which may be over when it returns.
func TaskOf(ctx context.Context, r *backbone.Reader, robot string) (*Task, error) {
	b, known, err := RobotOf(ctx, r, robot)
	if err != nil || !known || b.List == "" {
		return nil, err
	}
	s, _, err := backbone.Load(ctx, r, lists, b.List)
	if err != nil {
		return nil, err
	}
	t := &Task{List: b.List, Update: b.Update, Lost: b.Lost, Carries: s.carries(robot)}
	switch {
	case s.Phase == canceled:
		return nil, nil
	case b.Lost != "":
		if i := s.lost(b.Lost); i >= 0 {
			t.At, t.Lines = s.Goods[i].At, s.Goods[i].Lines
		}
		return t, nil
	}
	at, err := storePlaces(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, stop := range s.Stops {
		if stop.Way != b.Update {
			continue
		}
		place, ok := at[stop.Store]
		if !ok {
			place = Depot
		}
		t.Stops, t.Places = append(t.Stops, stop.Stop), append(t.Places, place)
		switch {
		case stop.Settled:
			t.Done = append(t.Done, Settled{Stop: stop.Stop.Stop, Outcome: stop.outcome(), Picked: stop.Picked})
		case stop.Blocked:
			t.Done = append(t.Done, Settled{Stop: stop.Stop.Stop, Outcome: mall.OutcomeBlocked})
		}
	}
	return t, nil
}

func storePlaces(ctx context.Context, r *backbone.Reader) (map[string]mall.Place, error) {
	rows, err := r.Query(ctx, `SELECT store, x, y FROM {places}`)
	if err != nil {
		return nil, fmt.Errorf("places of stores: %w", err)
	}
	defer rows.Close()
	all := map[string]mall.Place{}
	for rows.Next() {
		var store string
		var at mall.Place
		if err := rows.Scan(&store, &at.X, &at.Y); err != nil {
			return nil, fmt.Errorf("places of stores: %w", err)
		}
		all[store] = at
	}
	return all, rows.Err()
}

// Tells are the types of records by which what robots are to do changes. Each names its robot as the member robot.
func Tells() []string {
	return []string{
		RobotTasked{}.EventType(), RobotFreed{}.EventType(), "souk.depot.RobotSteered.v1", "souk.depot.RobotLost.v1", "souk.depot.RobotRetired.v1",
	}
}
