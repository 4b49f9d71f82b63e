package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A post office carries letters. It may be closed.
type PostOffice struct{ closed int }

// Letter is what the post office is asked to carry.
type Letter struct{ Reader, Text string }

// Call is made once an attempt, always with the same key, so that the outside can tell
// a repeated request from a new one.
func (p *PostOffice) Call(_ context.Context, c backbone.CallRequest, l Letter) (any, error) {
	fmt.Printf("attempt %d of %s: %s, %s\n", c.Attempt, c.Key, l.Reader, l.Text)
	if p.closed--; p.closed >= 0 {
		return nil, errors.New("closed")
	}
	return "stamp-17", nil
}

type (
	NoteLetter  struct{ Book, How string }
	LetterNoted struct{ Book, How string }
)

func (NoteLetter) CommandType() string { return "library.loans.NoteLetter.v1" }
func (c NoteLetter) Stream() string    { return c.Book }
func (LetterNoted) EventType() string  { return "library.loans.LetterNoted.v1" }

var letters = &backbone.Aggregate[string]{
	Name: "letter", Public: []backbone.Event{LetterNoted{}},
	Evolve: func(_ string, e backbone.Event) string { return e.(LetterNoted).How },
}

// A call to the outside is a row first: it is made after the commit that asked for it,
// tried again until its deadline, and its outcome comes back as a command.
func ExampleCallTo() {
	office := &PostOffice{closed: 2}
	loans := Loans()
	loans.Handles = append(loans.Handles, backbone.Decide(letters, func(_ string, c NoteLetter, _ backbone.Meta) ([]backbone.Event, error) {
		return []backbone.Event{LetterNoted(c)}, nil
	}))
	loans.Reacts = []backbone.Subscriber{backbone.Whenever(func(e Lent, m backbone.Meta) []backbone.Effect {
		return []backbone.Effect{backbone.MakeCall("post", "welcome-"+e.Book, e.Book, Letter{e.Reader, "enjoy " + e.Book}, m.Time.Add(time.Hour))}
	})}
	loans.Calls = []backbone.CallType{backbone.CallTo("post", backbone.Caller[Letter](office), func(l Letter, o backbone.CallOutcome) backbone.Command {
		if o.Failed {
			return NoteLetter{"Emma", "not sent: " + o.Cause}
		}
		return NoteLetter{"Emma", "sent with " + string(o.Result)}
	})}

	t, end := backbonetest.Outside()
	defer end()
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{loans}})
	w.Do(t, Lend{Book: "Emma", Reader: "Ann"})
	w.Pass(t, time.Minute)
	fmt.Println(w.Events(t, "loans")[1])
	// Output:
	// attempt 1 of welcome-Emma: Ann, enjoy Emma
	// attempt 2 of welcome-Emma: Ann, enjoy Emma
	// attempt 3 of welcome-Emma: Ann, enjoy Emma
	// {Emma sent with "stamp-17"}
}
