package standin

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/provider/internal/journal"
)

// Message is one line of the ledger: a message that was taken.
type Message struct {
	Seq       int       `json:"seq"` // dense from 1
	At        time.Time `json:"at"`
	MessageID string    `json:"message_id"` // without angle brackets
	From      string    `json:"from"`       // the envelope's
	To        []string  `json:"to"`         // the envelope's
	Subject   string    `json:"subject"`    // decoded
	Body      string    `json:"body"`       // the plain text, decoded; lines end in LF
	// BodySHA256 is the hash of everything behind the headers as it came, in hexadecimal.
	BodySHA256 string `json:"body_sha256"`
}

// Report is the ledger as GET /messages shows it.
type Report struct {
	Messages []Message `json:"messages"`
	// Copies counts how often each Message-ID was taken, over the whole ledger.
	Copies map[string]int `json:"copies"`
}

type ledger struct {
	now     func() time.Time
	journal *journal.Journal

	mu       sync.Mutex
	last     journal.Ticket
	messages []Message
	copies   map[string]int
}

func openLedger(path string, now func() time.Time) (*ledger, error) {
	l := &ledger{now: now, copies: map[string]int{}}
	file, err := journal.Open(path, func(line []byte) error {
		var m Message
		if err := json.Unmarshal(line, &m); err != nil {
			return err
		}
		if m.Seq != len(l.messages)+1 {
			return fmt.Errorf("message %d stands where %d should", m.Seq, len(l.messages)+1)
		}
		l.post(m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.journal = file
	return l, nil
}

func (l *ledger) post(m Message) {
	l.messages = append(l.messages, m)
	l.copies[m.MessageID]++
}

// take records a message and returns how often its Message-ID has come, once it is on disk.
func (l *ledger) take(m Message) (int, error) {
	l.mu.Lock()
	m.Seq, m.At = len(l.messages)+1, l.now().UTC()
	ticket, err := l.journal.Append(m)
	if err != nil {
		l.mu.Unlock()
		return 0, err
	}
	l.post(m)
	l.last = ticket
	copies := l.copies[m.MessageID]
	l.mu.Unlock()
	return copies, ticket.Wait()
}

// report returns the messages to the receiver and with the id, each if not empty, as they are on disk at one moment.
func (l *ledger) report(to, id string) (Report, error) {
	l.mu.Lock()
	messages, last := l.messages[:len(l.messages):len(l.messages)], l.last
	report := Report{Messages: []Message{}, Copies: make(map[string]int, len(l.copies))}
	for id, n := range l.copies {
		report.Copies[id] = n
	}
	l.mu.Unlock()
	for _, m := range messages {
		if (to == "" || slices.Contains(m.To, to)) && (id == "" || m.MessageID == id) {
			report.Messages = append(report.Messages, m)
		}
	}
	return report, last.Wait()
}

// parse reads what the ledger keeps of a message.
func parse(content []byte) (Message, error) {
	parsed, err := netmail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return Message{}, err
	}
	raw, err := io.ReadAll(parsed.Body)
	if err != nil {
		return Message{}, err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil {
		return Message{}, fmt.Errorf("subject: %w", err)
	}
	text, err := plainText(parsed.Header.Get("Content-Type"), parsed.Header.Get("Content-Transfer-Encoding"), raw)
	if err != nil {
		return Message{}, fmt.Errorf("body: %w", err)
	}
	sum := sha256.Sum256(raw)
	return Message{
		MessageID:  strings.Trim(strings.TrimSpace(parsed.Header.Get("Message-Id")), "<>"),
		Subject:    subject,
		Body:       text,
		BodySHA256: hex.EncodeToString(sum[:]),
	}, nil
}

// plainText decodes a body. Of one in several parts it takes the first that is plain text.
func plainText(kind, encoding string, raw []byte) (string, error) {
	media, parameters, err := mime.ParseMediaType(kind)
	if err != nil {
		media = "text/plain" // what RFC 2045 takes a missing or broken type for
	}
	if strings.HasPrefix(media, "multipart/") {
		parts := multipart.NewReader(bytes.NewReader(raw), parameters["boundary"])
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return "", nil
			}
			if err != nil {
				return "", err
			}
			content, err := io.ReadAll(part)
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
				return plainText("text/plain", part.Header.Get("Content-Transfer-Encoding"), content)
			}
		}
	}
	var decoded io.Reader = bytes.NewReader(raw)
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		decoded = quotedprintable.NewReader(decoded)
	case "base64":
		decoded = base64.NewDecoder(base64.StdEncoding, decoded)
	}
	text, err := io.ReadAll(decoded)
	return strings.ReplaceAll(string(text), "\r\n", "\n"), err
}
