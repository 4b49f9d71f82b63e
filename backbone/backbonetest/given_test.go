package backbonetest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// A jar holds sweets of several kinds.
type (
	filled struct {
		Kind   string    `json:"kind"`
		Sweets int       `json:"sweets"`
		At     time.Time `json:"at"`
		secret int
	}
	emptied struct {
		Kind string `json:"kind"`
	}
	unlisted struct{}
	fill     struct {
		Jar, Kind string
		Sweets    int
	}
	pour struct {
		From, To, Kind string
	}
)

func (filled) EventType() string   { return "test.jars.Filled.v1" }
func (emptied) EventType() string  { return "test.jars.Emptied.v1" }
func (unlisted) EventType() string { return "test.jars.Unlisted.v1" }
func (fill) CommandType() string   { return "test.jars.Fill.v1" }
func (c fill) Stream() string      { return c.Jar }
func (pour) CommandType() string   { return "test.jars.Pour.v1" }
func (c pour) Stream() string      { return c.From }

type sweets map[string]int

func (s sweets) with(kind string, n int) sweets {
	next := sweets{}
	for k, v := range s {
		next[k] = v
	}
	next[kind] = n
	return next
}

func evolve(s sweets, e backbone.Event) sweets {
	switch e := e.(type) {
	case filled:
		return s.with(e.Kind, s[e.Kind]+e.Sweets)
	case emptied:
		return s.with(e.Kind, 0)
	}
	return s
}

func jars(evolve func(sweets, backbone.Event) sweets) (*backbone.Aggregate[sweets], *backbone.Service) {
	jar := &backbone.Aggregate[sweets]{
		Name: "jar", Public: []backbone.Event{filled{}, emptied{}},
		New:    func() sweets { return sweets{} },
		Evolve: evolve,
	}
	calls := 0
	return jar, &backbone.Service{Name: "jars", Handles: []backbone.Handler{
		backbone.Decide(jar, func(s sweets, c fill, m backbone.Meta) ([]backbone.Event, error) {
			switch {
			case c.Kind == "nothing":
				return nil, nil
			case c.Kind == "broken":
				return nil, errors.New("the lid is stuck")
			case c.Kind == "stray":
				return []backbone.Event{unlisted{}}, nil
			case c.Kind == "moody":
				calls++
				return []backbone.Event{filled{Kind: fmt.Sprint(calls), At: m.Time}}, nil
			case c.Kind == "secret":
				return []backbone.Event{filled{Kind: c.Kind, secret: 1}}, nil
			case s[c.Kind]+c.Sweets > 10:
				return []backbone.Event{emptied{Kind: c.Kind}}, backbone.Refuse("full", "there are %d", s[c.Kind])
			}
			return []backbone.Event{filled{Kind: c.Kind, Sweets: c.Sweets, At: m.Time}}, nil
		}),
		backbone.DecideMany(
			func(c pour) []backbone.Ref { return []backbone.Ref{jar.Ref(c.From), jar.Ref(c.To)} },
			func(l backbone.Loaded, c pour, m backbone.Meta) ([]backbone.Append, error) {
				n := jar.State(l, c.From)[c.Kind]
				return []backbone.Append{jar.Append(c.From, emptied{Kind: c.Kind}), jar.Append(c.To, filled{Kind: c.Kind, Sweets: n, At: m.Time})}, nil
			}).On(jar),
	}}
}

func TestGivenWhenThen(t *testing.T) {
	jar, service := jars(evolve)
	backbonetest.Given(t, service).
		When(fill{"A", "mint", 3}).
		Then(filled{Kind: "mint", Sweets: 3, At: backbonetest.Epoch})
	later := backbonetest.Epoch.Add(time.Hour)
	backbonetest.Given(t, service, filled{Kind: "mint", Sweets: 9}).At(later).
		When(fill{"A", "mint", 1}).
		Then(filled{Kind: "mint", Sweets: 1, At: later})
	backbonetest.Given(t, service, filled{Kind: "mint", Sweets: 9}).
		When(fill{"A", "mint", 2}).
		ThenRefused("full", emptied{Kind: "mint"})
	backbonetest.Given(t, service).When(fill{"A", "nothing", 0}).ThenNothing()
	backbonetest.GivenStreams(t, service, jar.Append("A", filled{Kind: "mint", Sweets: 4})).
		When(pour{"A", "B", "mint"}).
		ThenOn(jar.Append("A", emptied{Kind: "mint"}), jar.Append("B", filled{Kind: "mint", Sweets: 4, At: backbonetest.Epoch}))
}

// Each thing that the kit promises to notice makes a test fail.
func TestGivenNotices(t *testing.T) {
	mutating := func(s sweets, e backbone.Event) sweets {
		if e, ok := e.(filled); ok {
			s[e.Kind] += e.Sweets
		}
		return s
	}
	jar, service := jars(evolve)
	_, mutates := jars(mutating)
	mint := filled{Kind: "mint", Sweets: 3, At: backbonetest.Epoch}
	for name, c := range map[string]struct {
		want string
		test func(testing.TB)
	}{
		"another event":  {"led to", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "lime", 3}).Then(mint) }},
		"one more event": {"led to", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "mint", 3}).Then(mint, mint) }},
		"an event":       {"led to", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "mint", 3}).ThenNothing() }},
		"no refusal":     {"want the refusal", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "mint", 3}).ThenRefused("full") }},
		"a refusal":      {"was refused", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "mint", 30}).Then(emptied{"mint"}) }},
		"another refusal": {"was refused with", func(t testing.TB) {
			backbonetest.Given(t, service).When(fill{"A", "mint", 30}).ThenRefused("empty", emptied{"mint"})
		}},
		"refusal's events": {"led to", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "mint", 30}).ThenRefused("full") }},
		"an error":         {"the lid is stuck", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "broken", 1}).ThenNothing() }},
		"impurity":         {"not pure", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "moody", 1}) }},
		"a stray event":    {"does not list", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "stray", 1}) }},
		"a stray history":  {"does not list", func(t testing.TB) { backbonetest.Given(t, service, unlisted{}).When(fill{"A", "mint", 1}) }},
		"lost in JSON":     {"does not survive JSON", func(t testing.TB) { backbonetest.Given(t, service).When(fill{"A", "secret", 1}) }},
		"mutation":         {"changes the state", func(t testing.TB) { backbonetest.Given(t, mutates, mint).When(fill{"A", "mint", 1}) }},
		"an unknown command": {"does not handle", func(t testing.TB) {
			backbonetest.Given(t, &backbone.Service{Name: "none"}).When(fill{"A", "mint", 1})
		}},
		"a stream not asked for": {"does not ask", func(t testing.TB) {
			backbonetest.GivenStreams(t, service, jar.Append("C", mint)).When(pour{"A", "B", "mint"})
		}},
		"unclear streams": {"several streams", func(t testing.TB) { backbonetest.Given(t, service, mint).When(pour{"A", "B", "mint"}) }},
		"another stream": {"led to", func(t testing.TB) {
			backbonetest.GivenStreams(t, service).When(pour{"A", "B", "mint"}).ThenOn(jar.Append("B", emptied{"mint"}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if said := complaint(t, c.test); !strings.Contains(said, c.want) {
				t.Errorf("the kit says %q, want %q", said, c.want)
			}
		})
	}
}

// complaints records what a test complains of in place of failing.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

type given struct{}

func (c *complaints) Fatalf(format string, args ...any) {
	c.Errorf(format, args...)
	panic(given{})
}

func complaint(t *testing.T, test func(testing.TB)) string {
	c := &complaints{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(given{}) {
				panic(p)
			}
		}()
		test(c)
	}()
	return strings.Join(c.said, "\n")
}
