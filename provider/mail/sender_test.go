package mail_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"example.org/souk/provider/mail"
)

// script is a server that answers each command of one dialogue from a table and drops the connection where an answer is
// missing. The commands are the first words of what the client says; "" is the greeting and "." the end of the message.
type script map[string]string

func polite(change script) script {
	s := script{"": "220 hello", "EHLO": "250 hello", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 ok", "RSET": "250 ok", "QUIT": "221 bye"}
	for command, answer := range change {
		s[command] = answer
	}
	return s
}

func (s script) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	command, transmitting := "", false
	for {
		if !transmitting {
			answer := s[command]
			if answer == "" {
				return
			}
			if _, err := conn.Write([]byte(answer + "\r\n")); err != nil {
				return
			}
			transmitting = command == "DATA" && strings.HasPrefix(answer, "354")
		}
		if !lines.Scan() {
			return
		}
		switch command, _, _ = strings.Cut(lines.Text(), " "); {
		case transmitting && lines.Text() == ".":
			transmitting = false
		case transmitting && s["."] == "in the middle":
			return
		}
	}
}

// server serves one connection and returns a sender to it.
func server(t *testing.T, serve func(net.Conn)) *mail.Sender {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if conn, err := listener.Accept(); err == nil {
			serve(conn)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	sender, err := mail.NewSender(mail.SenderConfig{
		Address: listener.Addr().String(), From: "shop@shop.example", TLS: mail.NoTLS, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

func TestClasses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script script
		class  mail.Class
		code   int
	}{
		"taken":                        {polite(nil), "", 0},
		"taken, and no goodbye":        {polite(script{"QUIT": ""}), "", 0},
		"dropped at the greeting":      {polite(script{"": ""}), mail.Unavailable, 0},
		"turned away at the greeting":  {polite(script{"": "554 go away"}), mail.Unavailable, 554},
		"busy at the greeting":         {polite(script{"": "421 too many"}), mail.Unavailable, 421},
		"dropped at the sender":        {polite(script{"MAIL": ""}), mail.Unavailable, 0},
		"sender refused":               {polite(script{"MAIL": "550 not you"}), mail.Permanent, 550},
		"dropped at the receiver":      {polite(script{"RCPT": ""}), mail.Unavailable, 0},
		"receiver refused":             {polite(script{"RCPT": "550 <ann@example.org> unknown"}), mail.Permanent, 550},
		"receiver refused and dropped": {polite(script{"RCPT": "550 no", "RSET": ""}), mail.Permanent, 550},
		"receiver busy":                {polite(script{"RCPT": "450 later"}), mail.Transient, 450},
		"dropped before the message":   {polite(script{"DATA": ""}), mail.Unavailable, 0},
		"message refused unseen":       {polite(script{"DATA": "554 no"}), mail.Permanent, 554},
		"dropped within the message":   {polite(script{".": "in the middle"}), mail.Unknown, 0},
		"dropped after the message":    {polite(script{".": ""}), mail.Unknown, 0},
		"message refused":              {polite(script{".": "554 spam"}), mail.Permanent, 554},
		"message refused for now":      {polite(script{".": "452 full"}), mail.Transient, 452},
		"shutting down at the message": {polite(script{".": "421 closing"}), mail.Transient, 421},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := server(t, test.script.serve).Send(t.Context(), mail.Message{ID: "m1", To: "ann@example.org", Subject: "x", Text: "y"})
			if mail.ClassOf(err) != test.class {
				t.Fatalf("got %v, want %q", err, test.class)
			}
			if failure, ok := errors.AsType[*mail.Error](err); ok && failure.Code != test.code {
				t.Errorf("code %d, want %d", failure.Code, test.code)
			}
			if err != nil && strings.Contains(err.Error(), "ann@") {
				t.Errorf("the error names the receiver: %v", err)
			}
		})
	}
}

func TestSendingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sender := server(t, func(conn net.Conn) {
		defer conn.Close()
		if _, err := conn.Write([]byte("220 hello\r\n")); err != nil {
			t.Error(err)
		}
		lines := bufio.NewScanner(conn)
		lines.Scan() // EHLO: the client is past dialling now, and waits for an answer
		cancel()
		lines.Scan() // says nothing until the client is gone
	})
	begin := time.Now()
	err := sender.Send(ctx, mail.Message{ID: "m1", To: "ann@example.org", Text: "y"})
	if mail.ClassOf(err) != mail.Unavailable {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %v after its context ended", took)
	}
}
