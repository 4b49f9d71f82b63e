package market

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// programmed is a client of Eclipse Paho in a device's program: paho.mqtt.golang, which speaks 3.1.1, or autopaho of paho.golang, which speaks 5.
type programmed struct {
	publish   func(topic, payload string, qos byte) error // returns when it was acknowledged, where that is asked for
	subscribe func(topics ...string) error                // with QoS 1
	leave     func()

	mu  sync.Mutex
	got map[string][]string // payloads, by topic
}

func (p *programmed) take(topic, payload string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got[topic] = append(p.got[topic], payload)
}

func (p *programmed) heard(topic string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got[topic])
}

const pahoPatience = 30 * time.Second

// paho connects a program of a device. It does not connect again by itself.
func (l login) paho(protocol string) *programmed {
	l.m.t.Helper()
	p := &programmed{got: map[string][]string{}}
	var err error
	if protocol == "mqttv5" {
		err = l.pahoV5(p)
	} else {
		err = l.pahoV3(p)
	}
	if err != nil {
		l.m.t.Fatalf("%s does not connect by %s: %v", l.Device, protocol, err)
	}
	l.m.t.Cleanup(p.leave)
	return p
}

func (l login) pahoV3(p *programmed) error {
	done := func(t mqtt.Token) error {
		if !t.WaitTimeout(pahoPatience) {
			return errors.New("there is no answer")
		}
		return t.Error()
	}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + l.m.host + ":" + l.m.port).SetProtocolVersion(4).SetAutoReconnect(false).
		SetUsername(l.Device).SetPassword(l.Password).SetClientID("paho-v3"))
	p.publish = func(topic, payload string, qos byte) error { return done(c.Publish(topic, qos, false, payload)) }
	p.subscribe = func(topics ...string) error {
		filters := map[string]byte{}
		for _, t := range topics {
			filters[t] = 1
		}
		return done(c.SubscribeMultiple(filters, func(_ mqtt.Client, m mqtt.Message) { p.take(m.Topic(), string(m.Payload())) }))
	}
	p.leave = func() { c.Disconnect(0) }
	return done(c.Connect())
}

func (l login) pahoV5(p *programmed) error {
	ctx, cancel := context.WithCancel(l.m.t.Context())
	c, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: l.m.host + ":" + l.m.port}}, KeepAlive: 30, CleanStartOnInitialConnection: true,
		ConnectUsername: l.Device, ConnectPassword: []byte(l.Password), OnConnectionDown: func() bool { return false },
		ClientConfig: paho.ClientConfig{ClientID: "paho-v5", PacketTimeout: pahoPatience, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) {
				p.take(r.Packet.Topic, string(r.Packet.Payload))
				return true, nil
			},
		}},
	})
	if err != nil {
		cancel()
		return err
	}
	// within ends when the program has no patience left, or its connection is gone.
	within := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithTimeout(ctx, pahoPatience)
		go func() {
			select {
			case <-c.Done():
			case <-ctx.Done():
			}
			cancel()
		}()
		return ctx, cancel
	}
	p.publish = func(topic, payload string, qos byte) error {
		ctx, cancel := within()
		defer cancel()
		_, err := c.Publish(ctx, &paho.Publish{Topic: topic, Payload: []byte(payload), QoS: qos})
		return err
	}
	p.subscribe = func(topics ...string) error {
		ctx, cancel := within()
		defer cancel()
		s := &paho.Subscribe{}
		for _, t := range topics {
			s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: t, QoS: 1})
		}
		_, err := c.Subscribe(ctx, s)
		return err
	}
	p.leave = func() {
		cancel()
		<-c.Done()
	}
	ready, stop := within()
	defer stop()
	return c.AwaitConnection(ready)
}
