package rpc

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// strict reads JSON as people and programs write it who have no generated code: a field or the name of a value that nobody knows is refused. Passed
// over, a mistyped filter finds everything, and a mistyped number is 0. What comes in protobuf keeps fields that a newer program knows.
type strict struct{ name string }

// Name implements connect.Codec.
func (s strict) Name() string { return s.name }

// Marshal implements connect.Codec.
func (strict) Marshal(message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", message)
	}
	return protojson.Marshal(m)
}

// Unmarshal implements connect.Codec.
func (strict) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", message)
	}
	if len(data) == 0 {
		return errors.New("nothing was sent; the least is {}")
	}
	if err := protojson.Unmarshal(data, m); err != nil {
		return errors.New(strings.ToValidUTF8(fmt.Sprintf("%.200s", err), "")) // it names the field, which may be as long as all that was sent
	}
	return nil
}
