package main

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"

	"github.com/mimir-kv/mimir/cmd/mimir/dev"
)

// consoleOf is where the page of a fleet is looked at: at a node of the first region, which is not the one that mimir
// dev proposes to break.
func consoleOf(f *dev.Fleet) string { return "http://" + f.Regions[0].Nodes[0].Client + "/console/" }

// opener is the command that opens an address in the browser of whoever sits at the machine.
func opener(url string) *exec.Cmd {
	switch runtime.GOOS {
	case "darwin":
		return exec.Command("open", url)
	case "windows":
		return exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	default:
		return exec.Command("xdg-open", url)
	}
}

// openConsole opens the page, or says that it has to be opened by hand. It waits for nobody.
func openConsole(w io.Writer, f *dev.Fleet) {
	url := consoleOf(f)
	c := opener(url)
	if err := c.Start(); err != nil {
		fmt.Fprintf(w, "no browser can be opened from here (%v): open %s\n", err, url)
		return
	}
	go c.Wait() //nolint:errcheck // it has its own window to say what is wrong
}
