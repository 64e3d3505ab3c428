package sourcerules

import (
	"bytes"
	"os"
	"testing"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// The README's picture of the state machine is the package's.
func TestReadmeDiagram(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	diagram := bytes.NewBufferString("```mermaid\n")
	if err := tcpstate.WriteMermaid(diagram); err != nil {
		t.Fatal(err)
	}
	diagram.WriteString("```\n")
	if !bytes.Contains(readme, diagram.Bytes()) {
		t.Errorf("README.md has not:\n%s", diagram)
	}
}
