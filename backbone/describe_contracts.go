package backbone

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// ContractInfo is what a contract says beside the parts list.
type ContractInfo struct {
	Title, Version, Description string
	// Prefix of the topics: "souk" makes souk.orders and souk.orders.commands.
	Prefix string
	// SchemaBase stands before the wire name in the $id of a schema, for example
	// "https://example.org/schemas/". Without it the $id is relative.
	SchemaBase string
}

// ContractFile is one file of the contracts.
type ContractFile struct {
	Path string // with slashes
	Data []byte // indented JSON, ends with a newline
}

// Contracts writes what crosses the borders of services: schemas/<wire
// name>.json, a JSON Schema (2020-12) for each public event and each command, and
// asyncapi.json, an AsyncAPI 3.0 document over all of them. Files are in order of
// their paths, and the same parts list gives the same bytes, so that a difference
// in a repository is a change of a contract.
func Contracts(parts []*Service, info ContractInfo) ([]ContractFile, error) {
	if err := Check(parts); err != nil {
		return nil, err
	}
	schemas := map[string]schema{}
	for _, s := range parts {
		for _, c := range s.contracts() {
			described, err := messageSchema(c, info)
			if err != nil {
				return nil, fmt.Errorf("schema of %s: %w", c.wire, err)
			}
			schemas[c.wire] = described
		}
	}
	api, err := contractFile("asyncapi.json", asyncAPI(Describe(parts), schemas, info))
	if err != nil {
		return nil, err
	}
	files := []ContractFile{api}
	for _, wire := range sortedKeys(schemas) {
		file, err := contractFile("schemas/"+wire+".json", schemas[wire])
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func contractFile(path string, content any) (ContractFile, error) {
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return ContractFile{}, fmt.Errorf("%s: %w", path, err)
	}
	return ContractFile{path, append(data, '\n')}, nil
}

// contracts lists the commands that a service handles and the events that it
// publishes.
func (s *Service) contracts() []contract {
	var list []contract
	for _, h := range s.Handles {
		list = append(list, contract{h.command, h.typ})
	}
	for _, f := range s.folders() {
		list = append(list, f.(typed).published()...)
	}
	for _, e := range s.Publishes {
		list = append(list, contract{e.EventType(), reflect.TypeOf(e)})
	}
	return list
}

func messageSchema(c contract, info ContractInfo) (schema, error) {
	t := c.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s, err := schemaOf(t)
	if err != nil {
		return nil, err
	}
	s["$schema"], s["$id"], s["title"] = schemaDialect, info.SchemaBase+c.wire+".json", shortName(c.wire)
	return s, nil
}

// asyncAPI describes a channel for the events and one for the commands of each
// service, and who sends and receives on them.
func asyncAPI(m Map, schemas map[string]schema, info ContractInfo) schema {
	channels, operations, messages := schema{}, schema{}, schema{}
	topic := func(name string) string {
		if info.Prefix == "" {
			return name
		}
		return info.Prefix + "." + name
	}
	channel := func(name, about string, wires []string) {
		carried := schema{}
		for _, w := range wires {
			carried[w] = reference("#/components/messages/" + w)
		}
		channels[name] = schema{"address": topic(name), "description": about, "messages": carried}
	}
	operation := func(name, action, on, about string, wires []string) {
		list := []schema{}
		for _, w := range wires {
			if schemas[w] != nil {
				list = append(list, reference("#/channels/"+on+"/messages/"+w))
			}
		}
		if len(list) > 0 {
			operations[name] = schema{"action": action, "channel": reference("#/channels/" + on), "summary": about, "messages": list}
		}
	}
	for _, w := range sortedKeys(schemas) {
		messages[w] = schema{
			"name": w, "title": schemas[w]["title"], "contentType": dataJSON,
			"headers":       reference("#/components/schemas/cloudevent"),
			"correlationId": schema{"location": "$message.header#/" + attrCorrelation},
			"payload":       schema{"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schemas[w]},
		}
	}
	for _, s := range m.Services {
		if public := s.public(); len(public) > 0 {
			channel(s.Name, "Public events of "+s.Name+", keyed by stream.", public)
			operation(s.Name+".publishes", "send", s.Name, s.Name+" publishes its events.", public)
		}
		if len(s.Handles) > 0 {
			var commands []string
			for _, h := range s.Handles {
				commands = append(commands, h.Command)
			}
			channel(s.Name+".commands", "Commands to "+s.Name+", keyed by stream.", commands)
			operation(s.Name+".handles", "receive", s.Name+".commands", s.Name+" decides commands.", commands)
		}
		takes := s.takes()
		for _, owner := range sortedKeys(takes) {
			operation(s.Name+".subscribes."+owner, "receive", owner, s.Name+" takes events of "+owner+".", takes[owner])
		}
		sent := map[string][]string{}
		for _, send := range s.Sends {
			if !slices.Contains(sent[send.To], send.Command) {
				sent[send.To] = append(sent[send.To], send.Command)
			}
		}
		for _, to := range sortedKeys(sent) {
			operation(s.Name+".sends."+to, "send", to+".commands", s.Name+" sends commands to "+to+".", sent[to])
		}
	}
	about := schema{"title": info.Title, "version": info.Version}
	if info.Description != "" {
		about["description"] = info.Description
	}
	return schema{
		"asyncapi": "3.0.0", "info": about, "defaultContentType": dataJSON,
		"channels": channels, "operations": operations,
		"components": schema{"messages": messages, "schemas": schema{"cloudevent": envelopeSchema()}},
	}
}

// reference points to a part of the document.
func reference(pointer string) schema {
	return schema{"$ref": pointer}
}

// envelopeSchema describes the context attributes that a message carries.
func envelopeSchema() schema {
	text := func(about string) schema { return schema{"type": "string", "description": about} }
	return schema{
		"type":        "object",
		"description": "CloudEvents 1.0 context attributes; the protocol binding says how their names are written.",
		"required":    []string{attrSpec, attrID, attrSource, attrType},
		"properties": schema{
			attrSpec: schema{"const": CloudEventsSpec}, attrID: text("unique within the source; the same in every delivery"),
			attrSource: text("the service in whose log it stands"), attrType: text("wire name with version"), attrSubject: text("the stream"),
			attrTime:    schema{"type": "string", "format": "date-time", "description": "when it was decided"},
			attrContent: schema{"const": dataJSON}, attrKey: text("the stream"),
			attrSequence:    text("dense in the stream over public events; 19 digits"),
			attrCorrelation: text("id of the first message of the conversation"), attrCausation: text("id of the message that caused this one"),
			attrTrace: text("W3C trace context"), attrRecorded: schema{"type": "string", "format": "date-time"}, attrActor: text("who caused it"),
			attrKind: text("command or reply; absent for events"), attrVersion: text("in the stream"), attrPosition: text("in the source's log"),
			attrRef: text("id of the command that it is, or answers"), attrTarget: text("the service that it is for"),
			attrReplyTo: text("where the answer goes"),
		},
	}
}
