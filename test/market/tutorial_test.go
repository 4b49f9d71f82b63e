package market

import (
	"testing"

	"example.org/souk/internal/testserver"
)

// The commands of the tutorial do what it says, as they stand there, one after another.
func TestTutorial(t *testing.T) {
	t.Parallel()
	testserver.Mosquitto(t)
	testserver.Tutorial(t, "../../docs/tutorials/supermarket.md", 9)
}
