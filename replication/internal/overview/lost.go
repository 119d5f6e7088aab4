package overview

import (
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// tellLost says of the regions for which the primary keeps no log any more what that means for them.
func tellLost(regions []contract.RegionStatus, primary *fleet.Heard) {
	if primary == nil {
		return
	}
	for _, slot := range primary.Slots {
		for i := range regions {
			r := &regions[i]
			if !slot.Lost || r.Name != slot.Region || r.Activity != "" { // its activity is that it bootstraps
				continue
			}
			if r.Problem != "" {
				r.Problem += "; "
			}
			r.Problem += "region " + primary.Region + " keeps no log for it any more: it will bootstrap"
		}
	}
}
