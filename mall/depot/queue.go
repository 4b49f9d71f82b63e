package depot

import (
	"encoding/json"
	"slices"
)

// queue holds jobs that wait, oldest first. It is a value: what is done with it leaves it as it is. So that not all of a long one is
// copied for each job that joins, these gather apart first. The zero value is empty.
type queue struct {
	older, newer []Job
}

// gathered is how many jobs join before the queue is copied as a whole.
const gathered = 64

func (q queue) len() int { return len(q.older) + len(q.newer) }

// first returns the job that waits longest; false if none does.
func (q queue) first() (Job, bool) {
	switch {
	case len(q.older) > 0:
		return q.older[0], true
	case len(q.newer) > 0:
		return q.newer[0], true
	}
	return Job{}, false
}

// all returns a copy, oldest first.
func (q queue) all() []Job { return slices.Concat(q.older, q.newer) }

func (q queue) has(list, lost string) bool {
	same := func(j Job) bool { return j.same(list, lost) }
	return slices.ContainsFunc(q.older, same) || slices.ContainsFunc(q.newer, same)
}

// with returns the queue that a job has joined.
func (q queue) with(j Job) queue {
	if len(q.newer) < gathered {
		return queue{q.older, append(slices.Clip(q.newer), j)}
	}
	return queue{q.all(), []Job{j}}
}

// without returns the queue that a job has left.
func (q queue) without(list, lost string) queue {
	leave := func(jobs []Job) []Job {
		i := slices.IndexFunc(jobs, func(j Job) bool { return j.same(list, lost) })
		switch {
		case i < 0:
			return jobs
		case i == 0:
			return jobs[1:]
		}
		return slices.Delete(slices.Clone(jobs), i, i+1)
	}
	return queue{leave(q.older), leave(q.newer)}
}

// IsZero reports whether nobody waits.
func (q queue) IsZero() bool { return q.len() == 0 }

// MarshalJSON writes the queue as one list.
func (q queue) MarshalJSON() ([]byte, error) { return json.Marshal(q.all()) }

// UnmarshalJSON reads such a list.
func (q *queue) UnmarshalJSON(data []byte) error {
	*q = queue{}
	return json.Unmarshal(data, &q.older)
}
