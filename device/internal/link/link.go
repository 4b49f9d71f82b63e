// Package link connects a device to an MQTT server, in either of the two versions that are spoken. It knows the wire and
// nothing else.
package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// badLogin and notAuthorized are the reasons of MQTT 5 for which a login is not taken.
const badLogin, notAuthorized = 0x86, 0x87

// within bounds one step of a conversation with the server.
const within = 10 * time.Second

// Config says where a device connects, and as whom.
type Config struct {
	// URL is mqtt://host:port, or mqtts:// for TLS.
	URL string
	// CAFile holds the certificate by which the server is trusted; default those that the system trusts.
	CAFile string
	// Device and Password are its login.
	Device, Password string
	// Version is 3, for MQTT 3.1.1, or 5.
	Version int
	// Connection is the topic on which the device says that it is there, and the server that it is lost.
	Connection string
	// Subscribe lists topics; Heard is told of what comes on them, one message after another.
	Subscribe []string
	Heard     func(topic string, payload []byte)
}

// Link is a connection. It is used by one goroutine at a time and not used again once it failed.
type Link struct {
	publish func(ctx context.Context, topic string, payload []byte, keep bool) error
	end     func()
	lost    chan struct{}
}

// Dial connects, says that the device is there, and subscribes.
func Dial(ctx context.Context, c Config) (*Link, error) {
	at, err := address(c.URL, "mqtt")
	if err != nil {
		return nil, err
	}
	var secure *tls.Config
	if at.Scheme == "mqtts" {
		if secure, err = Trust(c.CAFile); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	session := strconv.FormatInt(time.Now().UnixNano(), 36)
	will := state("LOST", session)
	l := &Link{lost: make(chan struct{})}
	if c.Version == 3 {
		err = l.dial3(ctx, c, at, secure, will)
	} else {
		err = l.dial5(ctx, c, at, secure, will)
	}
	if err != nil {
		return nil, err
	}
	if err := l.Publish(ctx, c.Connection, state("ONLINE", session), true); err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

// Check reports what no patience mends: an address that is none, or that there is no password.
func Check(server, password string) error { return check(server, password, "mqtt") }

// CheckWeb is Check for a device that speaks HTTP.
func CheckWeb(server, password string) error { return check(server, password, "http") }

func check(server, password, scheme string) error {
	if _, err := address(server, scheme); err != nil {
		return err
	}
	if password == "" {
		return errors.New("a device needs the password or token of its login, and there is none")
	}
	return nil
}

// address reads the address of a server: a scheme, or the same with TLS, and a host.
func address(server, scheme string) (*url.URL, error) {
	at, err := url.Parse(server)
	if err != nil || at.Host == "" || at.Scheme != scheme && at.Scheme != scheme+"s" {
		return nil, fmt.Errorf("server %q: write %s://host:port or %ss://host:port", server, scheme, scheme)
	}
	return at, nil
}

// Why says in words why a server is not reached, without the ports of the connection, which are others each time: so whoever tells each reason once
// can compare them.
func Why(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op != "dial" {
		return op.Err.Error()
	}
	if asked, ok := errors.AsType[*url.Error](err); ok {
		return asked.Err.Error()
	}
	return err.Error()
}

// refused says what is wrong with a login that the server does not take. It tells nobody, so this is all that it can be.
const refused = "the server does not take the login: the id, the password, the store or the kind is not that of the login"

func state(state, session string) []byte {
	return fmt.Appendf(nil, `{"state":%q,"session":%q,"ts":%q}`, state, session, time.Now().UTC().Format(time.RFC3339Nano))
}

// Trust returns the settings of a connection that trusts the certificate in a file, or without one those that the system trusts.
func Trust(file string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return c, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return c, nil
}

func (l *Link) dial3(ctx context.Context, c Config, at *url.URL, secure *tls.Config, will []byte) error {
	scheme := map[bool]string{false: "tcp://", true: "ssl://"}[secure != nil]
	o := mqtt.NewClientOptions().AddBroker(scheme+at.Host).SetClientID(c.Device).SetUsername(c.Device).SetPassword(c.Password).
		SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectTimeout(within).SetKeepAlive(15*time.Second).
		SetBinaryWill(c.Connection, will, 1, true).
		SetConnectionLostHandler(func(mqtt.Client, error) { close(l.lost) })
	if secure != nil {
		o.SetTLSConfig(secure)
	}
	if c.Heard != nil {
		o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.Heard(m.Topic(), m.Payload()) })
	}
	client := mqtt.NewClient(o)
	l.end = func() { client.Disconnect(100) }
	l.publish = func(ctx context.Context, topic string, payload []byte, keep bool) error {
		return settled(ctx, client.Publish(topic, 1, keep, payload))
	}
	if err := settled(ctx, client.Connect()); err != nil {
		if errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) || errors.Is(err, packets.ErrorRefusedNotAuthorised) {
			return errors.New(refused)
		}
		return err
	}
	if len(c.Subscribe) == 0 {
		return nil
	}
	filters := map[string]byte{}
	for _, topic := range c.Subscribe {
		filters[topic] = 1
	}
	if err := settled(ctx, client.SubscribeMultiple(filters, nil)); err != nil {
		l.end()
		return err
	}
	return nil
}

func settled(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Link) dial5(ctx context.Context, c Config, at *url.URL, secure *tls.Config, will []byte) error {
	var conn net.Conn
	var err error
	if secure != nil {
		conn, err = (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", at.Host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", at.Host)
	}
	if err != nil {
		return err
	}
	client := paho.NewClient(paho.ClientConfig{
		Conn: conn, PacketTimeout: within,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			if c.Heard != nil {
				c.Heard(r.Packet.Topic, r.Packet.Payload)
			}
			return true, nil
		}},
	})
	l.end = func() { _ = client.Disconnect(&paho.Disconnect{}) } // the connection may be gone
	l.publish = func(ctx context.Context, topic string, payload []byte, keep bool) error {
		_, err := client.Publish(ctx, &paho.Publish{QoS: 1, Topic: topic, Payload: payload, Retain: keep})
		return err
	}
	ack, err := client.Connect(ctx, &paho.Connect{
		ClientID: c.Device, Username: c.Device, UsernameFlag: true, Password: []byte(c.Password), PasswordFlag: true,
		KeepAlive: 15, CleanStart: true,
		WillMessage: &paho.WillMessage{Topic: c.Connection, Payload: will, QoS: 1, Retain: true},
	})
	switch {
	case ack != nil && (ack.ReasonCode == badLogin || ack.ReasonCode == notAuthorized):
		err = errors.New(refused)
	case err == nil && ack.ReasonCode != 0:
		err = fmt.Errorf("the server refuses the connection with code %d", ack.ReasonCode)
	}
	if err != nil {
		_ = conn.Close() // the client may have done so
		return err
	}
	go func() { <-client.Done(); close(l.lost) }()
	if len(c.Subscribe) == 0 {
		return nil
	}
	asked := &paho.Subscribe{}
	for _, topic := range c.Subscribe {
		asked.Subscriptions = append(asked.Subscriptions, paho.SubscribeOptions{Topic: topic, QoS: 1})
	}
	if _, err := client.Subscribe(ctx, asked); err != nil {
		l.end()
		return err
	}
	return nil
}

// Publish sends a message and returns when the server has acknowledged it. With keep it is kept for whoever subscribes later.
func (l *Link) Publish(ctx context.Context, topic string, payload []byte, keep bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case <-l.lost:
		return errors.New("the connection is lost")
	default:
	}
	return l.publish(ctx, topic, payload, keep)
}

// Lost is closed when the connection is gone.
func (l *Link) Lost() <-chan struct{} { return l.lost }

// Close ends the connection.
func (l *Link) Close() { l.end() }
