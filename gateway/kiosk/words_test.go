package kiosk_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.org/souk/gateway/door"
)

// files reads those of the gateway that a pattern names.
func files(t *testing.T, pattern string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	all := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(data)
	}
	return all
}

// Every language has every text with the same places in it, no text is left over, and what people read stands nowhere else. Red when a text is
// missing in a language, takes other arguments there, or stands in a page.
func TestEveryLanguageHasEveryText(t *testing.T) {
	t.Parallel()
	all := map[string]map[string]string{}
	for name, data := range files(t, "words/*.json") {
		words := map[string]string{}
		if err := json.Unmarshal([]byte(data), &words); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[strings.TrimSuffix(filepath.Base(name), ".json")] = words
	}
	usual := all["en"]
	places := regexp.MustCompile(`%\[\d\][sd]`)
	placesOf := func(text string) []string {
		list := places.FindAllString(text, -1)
		slices.Sort(list)
		return list
	}
	for code, words := range all {
		for key, text := range words {
			if usual[key] == "" || text == "" || strings.TrimSpace(text) != text || !slices.Equal(placesOf(text), placesOf(usual[key])) ||
				strings.Contains(places.ReplaceAllString(text, ""), "%") {
				t.Errorf("%s has %s: %q, and English %q", code, key, text, usual[key])
			}
		}
		for key := range usual {
			if words[key] == "" {
				t.Errorf("%s lacks %s", code, key)
			}
		}
	}

	used, pages := "", files(t, "page/*.html")
	code := files(t, "*.go")
	for name, text := range code {
		if strings.HasSuffix(name, "_test.go") {
			delete(code, name)
			continue
		}
		used += text
	}
	action, tag := regexp.MustCompile(`\{\{.*?\}\}`), regexp.MustCompile(`<[^>]*>`)
	attribute := regexp.MustCompile(`(?:aria-label|placeholder|title|alt)="[^"]*\pL[^"]*"`)
	for name, text := range pages {
		used += text
		for _, m := range regexp.MustCompile(`\{\{t "([^"]+)"`).FindAllStringSubmatch(text, -1) {
			if usual[m[1]] == "" {
				t.Errorf("%s says %s, which has no text", name, m[1])
			}
		}
		bare := action.ReplaceAllString(text, "")
		if found := attribute.FindString(bare); found != "" {
			t.Errorf("%s has a text of its own: %s", name, found)
		}
		for _, text := range tag.Split(bare, -1) {
			text = strings.NewReplacer("souk", "", "&minus;", "").Replace(text)
			if regexp.MustCompile(`\pL`).MatchString(text) {
				t.Errorf("%s has a text of its own: %q", name, strings.TrimSpace(text))
			}
		}
	}
	for _, m := range regexp.MustCompile(`say\("([^"]+[^."])"|Title: "([^"]+)"`).FindAllStringSubmatch(used, -1) {
		if key := m[1] + m[2]; usual[key] == "" && key != "souk kiosk" {
			t.Errorf("%s has no text", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(usual)) {
		family, _, _ := strings.Cut(key, ".")
		if !strings.Contains(used, `"`+key+`"`) && !strings.Contains(used, `"`+family+`."`) {
			t.Errorf("nobody says %s", key)
		}
	}
}

// A kiosk speaks as the browser asks, then as was chosen, with all of its parts, and to the next one as the browser asks again. Programs are told
// what went wrong in their language. Red when the choice is not kept, outlives the visit, or is anything that was sent.
func TestLanguages(t *testing.T) {
	t.Parallel()
	w := open(t, homes)
	w.listen()
	b := w.stand()
	b.speaks = "de-CH, fr;q=0.5"
	b.get("/kiosk")
	b.sees("Willkommen im Souk", "Zum Beginnen berühren")
	b.get("/kiosk/shop?q=lamp")
	b.sees("49.00 EUR", "Vorrätig")
	if !strings.Contains(b.page, `<html lang="de">`) {
		t.Error("the page does not say that it is in German")
	}
	b.send("Brass lamp für 49.00 EUR nehmen")
	b.post("/kiosk/language", url.Values{"language": {"fr"}, "back": {b.at.String()[len(b.base):]}})
	if b.at.RawQuery != "q=lamp" {
		t.Errorf("came back to %s", b.at)
	}
	b.sees("Votre panier", "Brass lamp", "Gardé pour vous jusqu’à", "Commander pour 49.00 EUR")
	b.post("/kiosk/language", url.Values{"language": {"<script>"}})
	b.sees("Votre panier", "Cela n’a pas marché")
	b.blind("<script>")
	b.send("Commander pour 49.00 EUR")
	b.sees("Nous avons votre commande et la vérifions.", "Annuler cette commande")
	b.get("/kiosk/orders")
	b.sees("commandé")
	b.send("Terminer")
	b.sees("Danke für Ihren Besuch.")
	for _, c := range [][2]string{{"", "Welcome"}, {"tlh", "Welcome"}, {"fr", "Bienvenue"}, {strings.Repeat("de,", 1000), "Willkommen"}, {"\xff;;q=x", "Welcome"}} {
		b.speaks = c[0]
		b.get("/kiosk")
		b.sees(c[1])
	}

	amina := w.token(door.Customer, "amina")
	for language, detail := range map[string]string{
		"": "the product cannot be ordered", "de": "Das wird nicht mehr verkauft.", "fr-FR,de;q=0.1": "Cet article n’est plus en vente.",
	} {
		var made basket
		w.must(http.StatusCreated, w.call(amina, "POST", "/baskets", "", key("b"+language)...), &made)
		rec := w.call(amina, "POST", "/baskets/"+made.Basket+"/items", `{"product":"gone","quantity":1}`, append(key("i"+language), "Accept-Language", language)...)
		w.refused(rec, http.StatusConflict, "not_sold")
		if !strings.Contains(rec.Body.String(), detail) {
			t.Errorf("%q: %s", language, rec.Body)
		}
	}
}
