package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/door/hostile"
	"example.org/souk/mall/command"
)

// healthy fails where an answer says that something went wrong inside, or says nothing that a client understands.
func (b *bench) healthy(caller, what, method string, m protoreflect.MethodDescriptor, contentType string, body []byte) {
	b.t.Helper()
	if m.IsStreamingServer() {
		contentType = strings.Replace(contentType, "application/", "application/connect+", 1)
		n := len(body)
		body = append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
	}
	status, answer := b.post(caller, method, contentType, body)
	text := string(answer)
	// A database that chokes on what it is given is no database that is away.
	bad := status >= http.StatusInternalServerError && status != http.StatusNotImplemented || strings.Contains(text, `"code":"unavailable"`)
	bad = bad && !strings.Contains(text, "the service is not here")
	for _, code := range []string{`"code":"internal"`, `"code":"unknown"`, "panic", "SQL"} {
		bad = bad || strings.Contains(text, code)
	}
	if bad {
		b.t.Errorf("%s with %s: %d %.300s", method, what, status, text)
	}
}

// endless ends only when its caller does.
func endless(m protoreflect.MethodDescriptor) bool {
	return m.Name() == "FollowFeeds" || m.Name() == "FollowRobots"
}

// B1: whatever a program sends to whichever method, nothing breaks inside. Red when an id or a time is not validated, and when an
// error of the database is passed on as it is.
func TestB1_NothingBreaksAnyMethod(t *testing.T) {
	t.Parallel()
	b := begin(t, func(c *Config) { c.CallerRate = door.Rate{PerSecond: 1e6, Burst: 1e6} })
	b.stock()
	b.nastyTo("process:fuzz", func(protoreflect.MethodDescriptor) bool { return true })
	// What comes from people is priced and sealed first.
	b.nastyTo("staff:fuzz", func(m protoreflect.MethodDescriptor) bool {
		return m.Name() == "PlaceOrder" || m.Parent().Name() == "CustomersService"
	})
	b.nastyCommands()
	b.nastyEndless()
	b.awake()
}

// nastyEndless sends what has no end until it is stopped: each is answered once, or ends because of what is wrong with it.
func (b *bench) nastyEndless() {
	b.t.Helper()
	for _, m := range methods() {
		if !endless(m) {
			continue
		}
		for what, body := range hostile.Messages(m.Input(), string(m.Name())) {
			b.begins(what, "/"+string(m.Parent().FullName())+"/"+string(m.Name()), body)
		}
	}
}

// begins sends a message to a stream, and holds that what it is answered first tells of nothing that broke.
func (b *bench) begins(what, path, body string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader(framed))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/connect+json"}, callerHeader: {"process:fuzz"}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatalf("%s with %s: %v", path, what, err)
	}
	defer resp.Body.Close()
	var head [5]byte
	_, err = io.ReadFull(resp.Body, head[:])
	answer := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, read := io.ReadFull(resp.Body, answer); err != nil || read != nil {
		b.t.Errorf("%s with %s is not answered: %v %v", path, what, err, read)
	}
	for _, code := range []string{`"code":"internal"`, `"code":"unknown"`, `"code":"unavailable"`, "panic", "SQL"} {
		if bytes.Contains(answer, []byte(code)) {
			b.t.Errorf("%s with %s: %s", path, what, answer)
		}
	}
}

// nastyCommands sends every command in the way of the mall's own processes.
func (b *bench) nastyCommands() {
	b.t.Helper()
	at := slices.IndexFunc(methods(), func(m protoreflect.MethodDescriptor) bool { return m.Name() == "Decide" })
	for _, c := range command.All() {
		zero, err := json.Marshal(c)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, data := range append(hostile.Values(), string(zero), "", "\x00") {
			body, err := json.Marshal(map[string]any{"type": c.CommandType(), "data": []byte(data)})
			if err != nil {
				b.t.Fatal(err)
			}
			b.healthy("process:fuzz", fmt.Sprintf("%.60q", data), "CommandsService/Decide", methods()[at], "application/json", body)
		}
	}
}

func (b *bench) nastyTo(caller string, which func(protoreflect.MethodDescriptor) bool) {
	b.t.Helper()
	tried := 0
	for _, m := range methods() {
		if endless(m) || !which(m) {
			continue
		}
		method := strings.TrimPrefix(string(m.Parent().FullName()), "souk.v1.") + "/" + string(m.Name())
		for what, body := range hostile.Messages(m.Input(), string(m.Name())) {
			b.healthy(caller, what, method, m, "application/json", []byte(body))
			tried++
		}
	}
	b.t.Logf("%d messages by %s", tried, caller)
}

// awake takes goods in and finds them, as ever.
func (b *bench) awake() {
	b.t.Helper()
	if _, code := b.json("process:after", "InventoryService/ReceiveStock", `{"commandId":"after","sku":"AFTER","quantity":5}`); code != "" {
		b.t.Errorf("afterwards: %s", code)
	}
	b.Settle(b.t)
	answer, code := b.json("process:after", "InventoryService/GetLevel", `{"sku":"AFTER"}`)
	if l, _ := answer["level"].(map[string]any); code != "" || l["available"] != "5" {
		b.t.Errorf("afterwards: %s %v", code, answer)
	}
}

// B1: the same for messages in binary, whole ones with random values and torn ones. Nothing of it may depend on how a message is written.
func TestB1_RandomMessages(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.stock()
	all := methods()
	rapid.Check(t, func(rt *rapid.T) {
		for range 20 {
			b.random(rt, all)
		}
	})
	b.awake()
}

func (b *bench) random(rt *rapid.T, all []protoreflect.MethodDescriptor) {
	m := rapid.SampledFrom(all).Draw(rt, "method")
	if endless(m) || m.Name() == "PauseService" { // which would be found out by what is paused
		return
	}
	message := dynamicpb.NewMessage(m.Input())
	fill(rt, message, 0)
	body, err := proto.Marshal(message)
	if err != nil {
		body = []byte(rapid.StringN(0, 100, 100).Draw(rt, "text"))
	}
	if n := rapid.IntRange(0, len(body)).Draw(rt, "cut"); rapid.IntRange(0, 3).Draw(rt, "torn") == 0 {
		body = append(body[:n:n], rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "rest")...)
	}
	method := strings.TrimPrefix(string(m.Parent().FullName()), "souk.v1.") + "/" + string(m.Name())
	what, _ := protojson.Marshal(message) // for the report alone
	b.healthy("process:fuzz", string(what), method, m, "application/proto", body)
}

// fill gives random fields random values.
func fill(rt *rapid.T, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.IsMap() || depth > 3 || rapid.IntRange(0, 4).Draw(rt, "left out") == 0 {
			continue
		}
		if f.IsList() {
			list := m.Mutable(f).List()
			for range rapid.IntRange(0, 3).Draw(rt, "entries") {
				list.Append(value(rt, f, list.NewElement, depth))
			}
			continue
		}
		m.Set(f, value(rt, f, func() protoreflect.Value { return m.NewField(f) }, depth))
	}
}

func value(rt *rapid.T, f protoreflect.FieldDescriptor, fresh func() protoreflect.Value, depth int) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.MessageKind:
		v := fresh()
		fill(rt, v.Message(), depth+1)
		return v
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32().Draw(rt, "number")))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(rt, "bool"))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "bytes"))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(rt, "int32"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 10)).Draw(rt, "int64"))
	}
	return protoreflect.ValueOfString(rapid.OneOf(
		rapid.SampledFrom([]string{"pen", "PEN", "C1", "hall", "main", "orders", "EUR", "O1", ""}), rapid.String(),
	).Draw(rt, "text"))
}
