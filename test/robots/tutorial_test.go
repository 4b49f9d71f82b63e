package robots

import (
	"testing"

	"example.org/souk/internal/testserver"
)

// B3: the commands of the tutorial do what it says, as they stand there, one after another.
func TestTutorial(t *testing.T) {
	t.Parallel()
	testserver.Tutorial(t, "../../docs/tutorials/mall.md", 7)
}
