// Package faults lets the faults of a device be switched while it runs.
package faults

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Switch is what is switched: faults as JSON writes them.
type Switch[F any] struct {
	Check func(F) error
	Get   func() F
	Set   func(F)
}

// Serve answers GET and PUT of /faults on a loopback address to who knows the password, given as the bearer token, and tells on out
// where. stop ends it.
func Serve[F any](address, password string, out io.Writer, s Switch[F]) (stop func(), err error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("faults are switched on a loopback address, and %q is none", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	want := sha256.Sum256([]byte(password))
	server := &http.Server{ReadTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		given := sha256.Sum256([]byte(token))
		switch {
		case subtle.ConstantTimeCompare(given[:], want[:]) != 1:
			http.Error(w, "the password is missing or wrong", http.StatusUnauthorized)
			return
		case r.URL.Path != "/faults":
			http.Error(w, "faults are at /faults", http.StatusNotFound)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodPut:
			w.Header().Set("Allow", "GET, PUT")
			http.Error(w, "faults are looked at with GET and switched with PUT", http.StatusMethodNotAllowed)
			return
		case r.Method == http.MethodPut:
			var f F
			d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
			d.DisallowUnknownFields()
			if err := d.Decode(&f); err != nil {
				none, _ := json.Marshal(*new(F)) // numbers always encode
				http.Error(w, fmt.Sprintf("the body is to be faults, such as %s, and is not: %v", none, err), http.StatusBadRequest)
				return
			}
			if err := s.Check(f); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			s.Set(f)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Get()) // whoever asked may be gone
	})}
	if _, err := fmt.Fprintf(out, "{\"faults_at\":\"http://%s/faults\"}\n", l.Addr()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() { _ = server.Serve(l) }()       // it ends when it is closed
	return func() { _ = server.Close() }, nil // nobody waits for an answer of a device that is stopped
}
