package browser

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Certificates are shown with when they end; of one that ends soon, or has ended, it is said as wrong too, on each
// node.
func TestTheConsoleShowsWhenCertificatesEnd(t *testing.T) {
	flags, err := Certificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, f := started(t, flags...)
	v := keysAt(t, b, f, f.Region("us").Nodes[0], phone)
	v.until("both nodes tell of theirs", func(s *Seen) bool { return len(v.rows("certificates")) == 6 })
	on := func(after time.Duration) string { return time.Now().UTC().Add(after).Format(time.DateOnly) }
	want := []string{
		"http-tls|certificate|CN=monitoring|" + on(-3*day) + "|expired",
		"peer-tls|certificate|CN=node|" + on(9*day) + "|expiring",
		"peer-tls|authority|CN=mimir peer-ca " + on(0) + "|" +
			time.Now().UTC().AddDate(10, 0, 0).Format(time.DateOnly) + "|good",
	}
	rows := v.rows("certificates")
	for _, node := range []string{"eu-1", "us-1"} {
		for _, row := range want {
			if !slices.Contains(rows, node+"|"+row) {
				t.Errorf("no row %q in %q", node+"|"+row, rows)
			}
		}
	}
	for _, words := range []string{"has expired", "expires in 8 days"} {
		v.until("it is said that one "+words, func(s *Seen) bool {
			said := 0
			for _, text := range s.Wrong {
				if strings.Contains(text, words) {
					said++
				}
			}
			return s.State == "wrong" && said == 2
		})
	}
	if list := dim(t, v.page); len(list) > 0 {
		t.Errorf("hard to read: %q", list)
	}
	if wide, err := Evaluate[int](v.page, `document.documentElement.scrollWidth - innerWidth`); err != nil || wide > 0 {
		t.Errorf("the page is %d pixels wider than a phone: %v", wide, err)
	}
}
