package backbonetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"example.org/souk/backbone"
)

// Frozen compares what a service keeps to itself, private events and commands to itself, with how it was written when the
// sample was made: it stands in the log for ever, too. A sample is testdata/<wire name>.json in the package's folder. One that
// is missing is made where the environment has SOUK_FREEZE=1; one that exists stays as it is.
func Frozen(t *testing.T, samples ...any) {
	t.Helper()
	for _, sample := range samples {
		var wire string
		switch s := sample.(type) {
		case backbone.Event:
			wire = s.EventType()
		case backbone.Command:
			wire = s.CommandType()
		default:
			t.Fatalf("%T is neither an event nor a command", sample)
		}
		written, err := json.MarshalIndent(sample, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, '\n')
		path := filepath.Join("testdata", wire+".json")
		kept, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && os.Getenv("SOUK_FREEZE") != "" {
			kept, err = written, errors.Join(os.MkdirAll("testdata", 0o750), os.WriteFile(path, written, 0o600))
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(kept, written) {
			t.Errorf("%s is no longer written as it was:\n%s", wire, written)
		}
		read := reflect.New(reflect.TypeOf(sample))
		if err := json.Unmarshal(kept, read.Interface()); err != nil || !reflect.DeepEqual(read.Elem().Interface(), sample) {
			t.Errorf("%s is no longer read as it was: %v", wire, err)
		}
	}
}
