package kiosk

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

//go:embed words/*.json
var wordFiles embed.FS

// usual is the language of who speaks none of the others.
const usual = "en"

// maxAccept bounds how much of an Accept-Language is looked at.
const maxAccept = 200

// tongue is a language that kiosks speak. Its texts stand in a file of its own, under keys that all languages share. It is
// safe for concurrent use.
type tongue struct {
	Code string // as it stands in pages and cookies: "de"
	Name string // what it calls itself

	tag   language.Tag
	words map[string]string
	out   *message.Printer
}

// say returns the text of a key; args fill its places.
func (t *tongue) say(key string, args ...any) string { return t.out.Sprintf(key, args...) }

// sentence is what people are told about a code. One that has no sentence is told in general words.
func (t *tongue) sentence(code string) string {
	if code == "" {
		return ""
	}
	if key := "say." + code; t.words[key] != "" {
		return t.say(key)
	}
	return t.say("say")
}

// tongues are all languages, the usual one first.
type tongues struct {
	list    []*tongue
	matcher language.Matcher
}

func readTongues() (*tongues, error) {
	names, err := wordFiles.ReadDir("words")
	if err != nil {
		return nil, err
	}
	all := &tongues{}
	texts := catalog.NewBuilder(catalog.Fallback(language.MustParse(usual)))
	for _, file := range names {
		data, err := wordFiles.ReadFile("words/" + file.Name())
		if err != nil {
			return nil, err
		}
		t := &tongue{Code: strings.TrimSuffix(path.Base(file.Name()), ".json")}
		if err := json.Unmarshal(data, &t.words); err != nil {
			return nil, fmt.Errorf("kiosk: %s: %w", file.Name(), err)
		}
		if t.tag, err = language.Parse(t.Code); err != nil {
			return nil, fmt.Errorf("kiosk: %s: %w", file.Name(), err)
		}
		for key, text := range t.words {
			if err := texts.SetString(t.tag, key, text); err != nil {
				return nil, fmt.Errorf("kiosk: %s: %s: %w", file.Name(), key, err)
			}
		}
		t.Name = t.words["language.name"]
		t.out = message.NewPrinter(t.tag, message.Catalog(texts))
		if t.Code == usual {
			all.list = append([]*tongue{t}, all.list...)
		} else {
			all.list = append(all.list, t)
		}
	}
	tags := make([]language.Tag, len(all.list))
	for i, t := range all.list {
		tags[i] = t.tag
	}
	all.matcher = language.NewMatcher(tags)
	return all, nil
}

// named returns the language of a code; nil where kiosks do not speak it.
func (all *tongues) named(code string) *tongue {
	for _, t := range all.list {
		if t.Code == code {
			return t
		}
	}
	return nil
}

// of returns the language for a request: that which was chosen, or what the client says that it understands best.
func (all *tongues) of(r *http.Request, cookie string) *tongue {
	if c, err := r.Cookie(cookie); err == nil {
		if t := all.named(c.Value); t != nil {
			return t
		}
	}
	accepted := r.Header.Get("Accept-Language")
	if len(accepted) > maxAccept {
		accepted = accepted[:strings.LastIndexByte(accepted[:maxAccept], ',')+1]
	}
	wanted, _, err := language.ParseAcceptLanguage(strings.TrimSuffix(accepted, ","))
	if err != nil || len(wanted) == 0 {
		return all.list[0]
	}
	_, i, confidence := all.matcher.Match(wanted...)
	if confidence == language.No {
		return all.list[0]
	}
	return all.list[i]
}
