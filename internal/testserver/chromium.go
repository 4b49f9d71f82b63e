package testserver

import (
	"context"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// Chromium returns a context from which chromedp.NewContext starts a headless browser of this test's own, with an
// empty profile. The browser ends with the test.
//
//	ctx, cancel := chromedp.NewContext(testserver.Chromium(t))
//	defer cancel()
func Chromium(t testing.TB) context.Context {
	t.Helper()
	need(t, chromiumName)
	program, ok := findChromium()
	if !ok {
		t.Fatal("there is no chromium on PATH; install it with: make servers")
	}
	// chromedp gives each browser a new profile and removes it, and ends the browser with this process.
	ctx, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(program),
		chromedp.Headless,
		chromedp.NoFirstRun,
		chromedp.Flag("no-sandbox", true), // test machines are often root in a container, where the sandbox cannot work
		chromedp.Flag("disable-gpu", true),
		// Without a network each of these would fail, retry and log for as long as the browser runs.
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), // /dev/shm is too small for it in many containers
	)
	t.Cleanup(cancel)
	return ctx
}

func findChromium() (string, bool) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}
