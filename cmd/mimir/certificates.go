package main

import "time"

// certificateReport is what is wrong with the certificates that nodes use, and what will be soon.
type certificateReport struct {
	Wrong []string `json:"wrong,omitempty"`
	Soon  []string `json:"soon,omitempty"`
}

// tellCertificates tells what the nodes that answered said of their files.
func (f *fleetReport) tellCertificates(now time.Time) {
	var c certificateReport
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			wrong, soon := n.tls.Troubles(now)
			for _, text := range wrong {
				c.Wrong = append(c.Wrong, r.Name+"/"+n.name+": "+text)
			}
			for _, text := range soon {
				c.Soon = append(c.Soon, r.Name+"/"+n.name+": "+text)
			}
		}
	}
	if len(c.Wrong)+len(c.Soon) > 0 {
		f.Certificates = &c
	}
}
