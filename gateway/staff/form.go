package staff

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// form is the body of a request: its fields by name, each a pointer to what it is read into.
type form map[string]any

// read fills the fields from a body, which may be empty; what the body leaves out stays as it is.
func (f form) read(body []byte) error {
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil
	}
	j := door.ReadJSON(body)
	err := j.Object(func(name string) error {
		into, known := f[name]
		if !known {
			return j.Unknown()
		}
		return readInto(j, into)
	})
	if err != nil {
		return err
	}
	return j.End()
}

func readInto(j *door.JSON, into any) (err error) {
	switch v := into.(type) {
	case *string:
		*v, err = j.String()
	case *int64:
		*v, err = j.Int()
	case *bool:
		*v, err = j.Bool()
	case *mall.Money:
		err = j.Object(form{"amount": &v.Amount, "currency": &v.Currency}.member(j))
	case *[]mall.Item:
		*v = nil
		err = j.Array(mall.MaxLines, func(int) error {
			var i mall.Item
			err := j.Object(form{
				"product": &i.Product, "sku": &i.SKU, "name": &i.Name, "price": &i.Price, "quantity": &i.Quantity, "store": &i.Store,
			}.member(j))
			*v = append(*v, i)
			return err
		})
	default:
		err = errors.New("a form of this type cannot be read")
	}
	return err
}

func (f form) member(j *door.JSON) func(string) error {
	return func(name string) error {
		into, known := f[name]
		if !known {
			return j.Unknown()
		}
		return readInto(j, into)
	}
}

// do has a command decided, and turns what may come of it into what the caller is told. verb tells the commands of one request apart.
func (g *Gateway) do(r *door.Request, verb string, c command.Command) error {
	if err := c.Validate(); err != nil {
		return err
	}
	options := []backbone.DoOption{backbone.By(r.Caller.Actor()), backbone.WithTrace(r.Trace)}
	if key := r.Header.Get("Idempotency-Key"); key != "" { // so that not even a lost answer has it done twice
		options = append(options, backbone.WithID(keyed(r, verb, key)))
	}
	answer, err := g.Commands.Do(r.Context(), c, options...)
	if err == nil {
		err = answer.Err()
	}
	if refusal, ok := errors.AsType[*backbone.Refusal](err); ok && strings.HasSuffix(refusal.Code, "_unknown") {
		return door.NewProblem(http.StatusNotFound, refusal.Code, refusal.Detail)
	}
	return err
}

// keyed returns the id that a caller's Idempotency-Key gives to what is done for the request under a name.
func keyed(r *door.Request, verb, key string) string {
	sum := sha256.Sum256([]byte(verb + "\n" + r.Caller.Actor() + "\n" + r.URL.Path + "\n" + key))
	return "staff-" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// answerDone answers a request that was carried out.
func answerDone(w http.ResponseWriter, what, id string) error {
	return door.Answer(w, http.StatusOK, map[string]string{what: id})
}

// idIn returns an id of the path. What is no id names nothing.
func idIn(r *door.Request, name string) (string, error) {
	id := r.PathValue(name)
	if mall.ValidID(id) != nil {
		return "", door.NotFound(name)
	}
	return id, nil
}

// limitOf reads how long a list may be.
func limitOf(r *door.Request) (int, error) {
	const usual, most = 50, 500
	s := r.URL.Query().Get("limit")
	if s == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, door.InvalidField("limit", "must be 1 to "+strconv.Itoa(most))
	}
	return n, nil
}

// idOrNone reads an id of the query that may be left out.
func idOrNone(r *door.Request, name string) (string, error) {
	id := r.URL.Query().Get(name)
	if id != "" && mall.ValidID(id) != nil {
		return "", door.InvalidField(name, "must be an id")
	}
	return id, nil
}

// unavailable is what a caller is told when something cannot be read now.
func unavailable(err error) error { return errors.Join(backbone.ErrUnavailable, err) }

// answerList answers with a list under its name; nothing is an empty one.
func answerList[T any](w http.ResponseWriter, name string, list []T, err error) error {
	return answerFirst(w, name, list, len(list), err)
}

// answerFirst answers with the first of a list, of which one more was asked for: where it is there, the answer says that there are more.
func answerFirst[T any](w http.ResponseWriter, name string, list []T, limit int, err error) error {
	if err != nil {
		return unavailable(err)
	}
	if list == nil {
		list = []T{}
	}
	if len(list) > limit {
		return door.Answer(w, http.StatusOK, map[string]any{name: list[:limit], "more": true})
	}
	return door.Answer(w, http.StatusOK, map[string][]T{name: list})
}

// answerOne answers with one thing.
func answerOne[T any](w http.ResponseWriter, what string, v T, found bool, err error) error {
	switch {
	case err != nil:
		return unavailable(err)
	case !found:
		return door.NotFound(what)
	}
	return door.Answer(w, http.StatusOK, v)
}
