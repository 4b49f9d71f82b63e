// Package admin is the HTTP door of the stand-ins: one API key opens it, bodies are small, answers are JSON.
package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	maxBody = 16 << 10 // bytes of a request body
	minKey  = 16       // characters of an API key
)

// NewKey returns a random API key.
func NewKey() string { return rand.Text() }

// KeyFile returns the key in the file at path. A file that is not there is created first, with a new key, readable by
// its owner only.
func KeyFile(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(content)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	fresh := NewKey()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(fresh + "\n")
	return fresh, errors.Join(err, file.Close())
}

// Check refuses keys that are too short and addresses that are not loopback: a stand-in has no business on a network.
func Check(apiKey string, addresses ...string) error {
	if len(apiKey) < minKey {
		return fmt.Errorf("an API key of %d characters or more is required", minKey)
	}
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("%q is not a loopback address", host)
		}
	}
	return nil
}

// Server returns a server that serves next to callers who present apiKey as their bearer token. Its limits hold a
// request's headers and body; answers may take as long as a fault makes them.
func Server(apiKey string, next http.Handler) *http.Server {
	want := sha256.Sum256([]byte(apiKey))
	return &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxBody,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			given := sha256.Sum256([]byte(token))
			if !ok || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
				Refuse(w, http.StatusUnauthorized, "unauthorized", "the API key is missing or wrong")
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			next.ServeHTTP(w, r)
		}),
	}
}

// Decode reads a request's body, one JSON value without unknown fields, to its end.
func Decode(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the body")
	}
	return nil
}

// Answer writes a value that is known to marshal.
func Answer(w http.ResponseWriter, body any) { write(w, http.StatusOK, "application/json", body) }

// Refuse writes an RFC 9457 problem document with a code for programs.
func Refuse(w http.ResponseWriter, status int, code, detail string) {
	write(w, status, "application/problem+json", struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail,omitempty"`
	}{http.StatusText(status), status, code, detail})
}

func write(w http.ResponseWriter, status int, kind string, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		panic(err) // a type of the stand-in's own that does not marshal: the server turns it into a dropped connection
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(content) // a caller that is gone asks again
}
