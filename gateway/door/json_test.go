package door_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"example.org/souk/gateway/door"
)

// small is what the tests read: {"text", "list": [{"n"}], "yes", "price"}.
type small struct {
	Text  string
	List  []int64
	Yes   bool
	Price json.Number
}

func read(body string) (s small, err error) {
	j := door.ReadJSON([]byte(body))
	_ = j.Object(func(name string) (err error) {
		switch name {
		case "text":
			s.Text, err = j.String()
		case "list":
			err = j.Array(3, func(int) error {
				s.List = append(s.List, 0)
				return j.Object(func(name string) (err error) {
					if name != "n" {
						return j.Unknown()
					}
					s.List[len(s.List)-1], err = j.Int()
					return err
				})
			})
		case "yes":
			s.Yes, err = j.Bool()
		case "price":
			s.Price, err = j.Number()
		default:
			err = j.Unknown()
		}
		return err
	})
	return s, j.End()
}

func TestReadJSON(t *testing.T) {
	t.Parallel()
	s, err := read("\n{ \"text\" : \"a\\n\\u00e4\\ud83d\\ude00ä\\\\\" , \"list\":[ {\"n\":-1},{\"n\":9223372036854775807}],\"yes\":true,\"price\":-1.50e+2 } ")
	if err != nil || s.Text != "a\nä😀ä\\" || len(s.List) != 2 || s.List[1] != 9223372036854775807 || !s.Yes || s.Price != "-1.50e+2" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := read(`{"list":[],"yes":false}`); err != nil || s.List != nil || s.Yes {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := read(`{}`); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ body, field, reason string }{
		{`{"other":1}`, "other", "is not a known field"},
		{`{"Text":"a"}`, "Text", "is not a known field"},
		{`{"text":"a","text":"b"}`, "text", "must not be given twice"},
		{`{"text":"a","te\u0078t":"b"}`, "text", "must not be given twice"},
		{`{"list":[{"n":1},{"n":1,"n":2}]}`, "list[1].n", "must not be given twice"},
		{`{"list":[{"n":1},{"m":1}]}`, "list[1].m", "is not a known field"},
		{`{"list":[{"n":1.5}]}`, "list[0].n", "must be a whole number of at most 9223372036854775807"},
		{`{"list":[{"n":9223372036854775808}]}`, "list[0].n", "must be a whole number of at most 9223372036854775807"},
		{`{"list":[{"n":"1"}]}`, "list[0].n", "must be a number"},
		{`{"list":[{"n":null}]}`, "list[0].n", "must be a number"},
		{`{"list":[1]}`, "list[0]", "must be an object"},
		{`{"list":[{},{},{},{}]}`, "list", "must have at most 3 entries"},
		{`{"list":{}}`, "list", "must be an array"},
		{`{"list":null}`, "list", "must be an array"},
		{`{"text":1}`, "text", "must be a string"},
		{`{"text":null}`, "text", "must be a string"},
		{`{"yes":"true"}`, "yes", "must be true or false"},
		{`{"price":"1"}`, "price", "must be a number"},
		{`{"price":NaN}`, "price", "must be a number"},
		{`{"price":+1}`, "price", "must be a number"},
		{`[]`, "", "must be an object"},
		{`null`, "", "must be an object"},
		{strings.Repeat(`{"list":`, 10_000), "list", "must be an array"},
		{strings.Repeat(`[`, 10_000), "", "must be an object"},
		{`{"` + strings.Repeat("k", 1000) + `":1}`, strings.Repeat("k", 64) + "...", "is not a known field"},
		{`{"a\u0000\u001bb":1}`, "a??b", "is not a known field"},
	} {
		_, err := read(c.body)
		p, ok := errors.AsType[*door.Problem](err)
		if !ok || p.Code != "invalid_field" || len(p.Errors) != 1 || p.Errors[0].Field != c.field || p.Errors[0].Reason != c.reason {
			t.Errorf("%.80s: %+v", c.body, err)
		}
	}
	for _, body := range []string{
		``, ` `, `{`, `{"text`, `{"text"`, `{"text":`, `{"text":"a`, `{"text":"a"`, `{"text":"a",`, `{"text":"a",}`, `{,}`, `{"text":"a"}x`, `{}{}`, `{} []`,
		`{"text":"a" "yes":true}`, `{"text" "a"}`, `{text:"a"}`, `{'text':"a"}`, "{\"text\":\"a\nb\"}", `{"text":"\x"}`, `{"text":"\u12"}`, "{\"text\":\"\xff\"}", `{"text":"a\`,
		`{"price":01}`, `{"price":1.}`, `{"price":-}`, `{"price":1e}`, `{"price":1e+}`, `{"price":.5}`[:9] + `-.5}`, `{"price":1-1}`, `{"list":[`, `{"list":[{"n":1}`, `{"list":[{"n":1},]}`, `{"list":[{"n":1} {"n":1}]}`,
	} {
		_, err := read(body)
		if p, ok := errors.AsType[*door.Problem](err); !ok || p.Code != "malformed_json" || p.Status != 400 {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// What is accepted, encoding/json accepts as well, and reads the same.
func FuzzReadJSON(f *testing.F) {
	f.Add(`{"text":"a","list":[{"n":1}],"yes":true,"price":1.5}`)
	f.Add(`{"text":"\ud800","price":-0}`)
	f.Fuzz(func(t *testing.T, body string) {
		s, err := read(body)
		if err != nil {
			if _, ok := errors.AsType[*door.Problem](err); !ok {
				t.Fatal(err)
			}
			return
		}
		var other struct {
			Text  string
			List  []struct{ N int64 }
			Yes   bool
			Price json.Number
		}
		if err := json.Unmarshal([]byte(body), &other); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if s.Text != other.Text || s.Yes != other.Yes || s.Price != other.Price || len(s.List) != len(other.List) {
			t.Fatalf("%q: %+v, %+v", body, s, other)
		}
	})
}
