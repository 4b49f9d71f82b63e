package broker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// attributeMaps holds those that decode has no use for at the moment: nothing keeps one beyond it.
var attributeMaps = sync.Pool{New: func() any { return make(map[string]string, 24) }}

// decode reads a CloudEvent in binary mode, or in structured mode, which the content type tells.
func decode(in *Incoming) (driver.Message, error) {
	var m *backbone.Message
	var err error
	if strings.HasPrefix(in.ContentType, "application/cloudevents") {
		m, err = backbone.DecodeCloudEvent(in.Body)
	} else {
		attributes := attributeMaps.Get().(map[string]string)
		defer func() {
			clear(attributes)
			attributeMaps.Put(attributes)
		}()
		for _, a := range in.Attributes {
			attributes[a.Name] = a.Value
		}
		attributes["datacontenttype"] = in.ContentType
		m, err = backbone.MessageFromCloudEvent(attributes, in.Body)
	}
	if err != nil {
		return driver.Message{}, err
	}
	return driver.Message{Source: m.Source, Record: backbone.RecordOf(m)}, nil
}

// unreadable makes a message of what is no CloudEvent that can be read, so that it is parked with its cause and neither
// lost nor in the way of others.
func unreadable(in *Incoming, cause error) driver.Message {
	hash := sha256.Sum256(in.Body)
	id := "unreadable-" + hex.EncodeToString(hash[:16])
	data, err := json.Marshal(driver.UnreadableData{Topic: in.Topic, ContentType: in.ContentType, Body: string(in.Body), Cause: cause.Error()})
	if err != nil {
		data = []byte("{}")
	}
	return driver.Message{Source: in.Topic, Record: driver.Record{
		Kind: driver.KindEvent, ID: id, Stream: id, Type: driver.Unreadable, Data: data, Meta: []byte("{}"),
	}}
}
