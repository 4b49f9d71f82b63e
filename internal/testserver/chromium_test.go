package testserver_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"

	"example.org/souk/internal/testserver"
)

func TestChromiumShowsAPage(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<p id="p">before</p><script>document.getElementById("p").textContent = "after"</script>`))
	}))
	defer page.Close()
	ctx, cancel := chromedp.NewContext(testserver.Chromium(t))
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(page.URL)); err != nil {
		t.Fatal(err)
	}
	text, err := chromedp.Run(ctx, chromedp.Text("#p"))
	if err != nil || text != "after" {
		t.Errorf("the page says %q, %v", text, err)
	}
}
