package sim

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// lieInPowerCut takes the power from a whole region of three, of which one node is down for a while already, and from
// the disk of one of the two others what it synced meanwhile. What they acknowledged is on the disk of the third alone,
// which starts last, in time. Nothing of it may be lost: those that lack it are a majority, and have to wait.
func (x disks) lieInPowerCut(ctx context.Context, p *process) {
	m := p.member
	var rest []*member
	for _, o := range x.fleet.members {
		if o != m && o.region == m.region && o.current() != nil {
			rest = append(rest, o)
		}
	}
	if len(rest) != 2 || m.rot != nil {
		return
	}
	i := x.random.IntN(2)
	late, has := rest[i], rest[1-i]
	late.lose()
	from := p.memory.CrashClone(vfs.CrashCloneCfg{})
	x.tell("disk of %s keeps nothing from now on, and %s is down", m.name, late.name)
	x.wait(2*time.Second + time.Duration(x.random.IntN(3000))*time.Millisecond)
	if m.current() != p || p.gone.Load() || has.current() == nil || late.current() != nil {
		return // something else happened, and who is down is started with all others
	}
	has.lose()
	p.lose()
	m.bury()
	own := m.memory
	m.memory, m.honest = from, own
	x.fleet.happened.note(injectLie)
	x.tell("power cut of %s, of which %s alone has the end", m.region, has.name)
	late.start(ctx)
	m.startIf(ctx, func(err error) bool { return errors.Is(err, replication.ErrDiskLost) })
	m.old = nil
	if m.current() == nil {
		m.memory, m.honest = own, nil
	}
	x.wait(1500*time.Millisecond + time.Duration(x.random.IntN(1000))*time.Millisecond) // longer than an election takes
	has.start(ctx)
	x.wait(untilHeard) // nothing befalls it before: alone it could not save what it has
}

// untilHeard is for how long a node is left alone once it started, so that those who wait for it hear it in time.
const untilHeard = time.Second

// lose takes the power from a member that runs, and clears it away.
func (m *member) lose() {
	if p := m.current(); p != nil {
		p.lose()
		m.bury()
	}
}
