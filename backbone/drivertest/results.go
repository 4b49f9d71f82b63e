package drivertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"example.org/souk/backbone/driver"
)

// Results is what a run of a suite has shown of a transport, for its card in the documentation.
type Results struct {
	Transport string        `json:"transport"`
	Server    string        `json:"server,omitempty"` // the broker that it ran on, with its version
	Powers    driver.Powers `json:"powers"`
	// Tests are in the order of the suite.
	Tests []Result `json:"tests"`
}

// Result is what became of one test.
type Result struct {
	Name   string `json:"name"`
	Result string `json:"result"` // passed, failed, or "does not apply"
}

// keepResults writes what a run has shown to the directory that SOUK_RESULTS names, if it names one.
func keepResults(t *testing.T, r *Results) {
	dir := os.Getenv("SOUK_RESULTS")
	if dir == "" || r.Transport == "" {
		return
	}
	data, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, r.Transport+".json"), append(data, '\n'), 0o644) //nolint:gosec // it is published
	}
	if err != nil {
		t.Errorf("keep the results: %v", err)
	}
}
