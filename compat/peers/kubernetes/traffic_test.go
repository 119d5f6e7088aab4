package kubernetes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
)

// What clients do: so many objects are written over and over, each by a client of its own; one client makes new
// objects; readers read all of these.
const (
	namespace      = "default"
	writers        = 6
	readers        = 2
	page           = 20 // objects of a page of a list
	pace           = 20 * time.Millisecond
	slowPace       = 250 * time.Millisecond // of what makes new objects
	requestTimeout = 10 * time.Second
	chained        = "chained" // the prefix of objects that are written over and over
	single         = "single"  // of those that are written once
)

// The data of an object: which version it is.
const (
	versionKey = "version"
	numberKey  = "number"
)

func content(name, version string, number int) *core.ConfigMap {
	return &core.ConfigMap{
		ObjectMeta: meta.ObjectMeta{Name: name, Namespace: namespace},
		Data:       map[string]string{versionKey: version, numberKey: strconv.Itoa(number)},
	}
}

// isOurs tells the judge's objects from those of the API server.
func isOurs(name string) bool {
	return strings.HasPrefix(name, chained) || strings.HasPrefix(name, single)
}

func versionOf(o *core.ConfigMap) (version string, number int) {
	number, err := strconv.Atoi(o.Data[numberKey])
	if err != nil {
		number = -1
	}
	return o.Data[versionKey], number
}

// traffic is clients of one API server.
type traffic struct {
	*book
	serial  atomic.Int64 // of writes
	clients sync.WaitGroup
}

// drive starts clients; connect gives each its own connections. They work until the context ends.
func drive(ctx context.Context, b *book, connect func() typed.ConfigMapInterface) *traffic {
	t := &traffic{book: b}
	for i := range writers {
		l, c := b.line(fmt.Sprintf("%s-%d", chained, i)), connect()
		t.clients.Go(func() { t.chain(ctx, c, l) })
	}
	c := connect()
	t.clients.Go(func() { t.create(ctx, c) })
	for range readers {
		c := connect()
		t.clients.Go(func() { t.repeat(ctx, pace, func(ctx context.Context) { t.get(ctx, c) }) })
		t.clients.Go(func() { t.repeat(ctx, pace, func(ctx context.Context) { t.list(ctx, c, "") }) })
	}
	c = connect()
	t.clients.Go(func() { t.repeat(ctx, pace, func(ctx context.Context) { t.list(ctx, c, t.lastResource()) }) })
	return t
}

// repeat does something again and again.
func (t *traffic) repeat(ctx context.Context, pace time.Duration, do func(context.Context)) {
	for ctx.Err() == nil {
		within(ctx, do)
		select {
		case <-time.After(pace):
		case <-ctx.Done():
		}
	}
}

// within gives a request its time. One that is under way when the clients end is ended by nothing else.
func within(ctx context.Context, do func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	do(ctx)
}

// refused reports whether an error says that a write was not done.
func refused(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) ||
		apierrors.IsTooManyRequests(err)
}

// chain writes one object over and over, each time on condition that it is what was read last.
func (t *traffic) chain(ctx context.Context, c typed.ConfigMapInterface, l *line) {
	var last *core.ConfigMap
	t.repeat(ctx, pace, func(ctx context.Context) {
		if last == nil {
			last = t.reread(ctx, c, l)
			return
		}
		version, number := t.next(), 0
		if last.ResourceVersion != "" {
			_, number = versionOf(last)
			number++
		}
		o := content(l.name, version, number)
		o.ResourceVersion = last.ResourceVersion
		last = t.write(ctx, c, l, o)
	})
}

func (t *traffic) next() string { return fmt.Sprintf("v%07d", t.serial.Add(1)) }

// write writes an object, and returns it; nil if that failed.
func (t *traffic) write(ctx context.Context, c typed.ConfigMapInterface, l *line, o *core.ConfigMap) *core.ConfigMap {
	version, number := versionOf(o)
	l.try(version, number)
	at := l.begin()
	verb, do := "update", func() (*core.ConfigMap, error) { return c.Update(ctx, o, meta.UpdateOptions{}) }
	if o.ResourceVersion == "" {
		verb, do = "create", func() (*core.ConfigMap, error) { return c.Create(ctx, o, meta.CreateOptions{}) }
	}
	made, err := do()
	t.answered(verb, err)
	switch {
	case err == nil:
		t.acknowledged()
		t.wrong(l.wrote(at, version, made.ResourceVersion))
		return made
	case refused(err):
		l.refused(version)
	}
	return nil
}

// reread returns what an object is after a write that failed; an empty one if it is not there yet, nil if that cannot
// be told.
func (t *traffic) reread(ctx context.Context, c typed.ConfigMapInterface, l *line) *core.ConfigMap {
	at := l.begin()
	o, err := c.Get(ctx, l.name, meta.GetOptions{})
	if apierrors.IsNotFound(err) && at.floor < 0 {
		return &core.ConfigMap{}
	}
	t.answered("get", err)
	if err != nil {
		if apierrors.IsNotFound(err) {
			t.wrong(fmt.Errorf("%s: not found, and number %d was acknowledged", l.name, at.floor))
		}
		return nil
	}
	version, number := versionOf(o)
	if err := l.resume(at, version, number); err != nil {
		t.wrong(err)
		return nil
	}
	return o
}

// create makes new objects.
func (t *traffic) create(ctx context.Context, c typed.ConfigMapInterface) {
	t.repeat(ctx, slowPace, func(ctx context.Context) {
		version := t.next()
		l := t.line(fmt.Sprintf("%s-%s", single, version))
		t.write(ctx, c, l, content(l.name, version, 0))
	})
}

// get reads one of the objects that are written over and over.
func (t *traffic) get(ctx context.Context, c typed.ConfigMapInterface) {
	l := t.line(fmt.Sprintf("%s-%d", chained, rand.N(writers)))
	at := l.begin()
	o, err := c.Get(ctx, l.name, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		if at.floor >= 0 {
			t.wrong(fmt.Errorf("%s: not found, and number %d was acknowledged", l.name, at.floor))
		}
		return
	}
	t.answered("get", err)
	if err == nil {
		version, number := versionOf(o)
		t.wrong(l.saw(at, version, number))
	}
}

// lastResource is a resource version of something that was acknowledged.
func (t *traffic) lastResource() string {
	l := t.line(fmt.Sprintf("%s-%d", chained, rand.N(writers)))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.floor < 0 {
		return "0"
	}
	return l.resource[l.versions[l.floor]]
}

// list reads all objects, in pages; or, if it is to be no older than a resource version, at once.
func (t *traffic) list(ctx context.Context, c typed.ConfigMapInterface, resource string) {
	what, o := "list", meta.ListOptions{Limit: page}
	starts := t.starts()
	if resource != "" {
		what, o = "list not older", meta.ListOptions{ResourceVersion: resource,
			ResourceVersionMatch: meta.ResourceVersionMatchNotOlderThan}
	}
	var items []core.ConfigMap
	for {
		l, err := c.List(ctx, o)
		if apierrors.IsResourceExpired(err) && o.Continue != "" {
			t.answered("list that began again", nil)
			return
		}
		if err != nil {
			t.answered(what, err)
			return
		}
		items = append(items, l.Items...)
		if o.Continue = l.Continue; o.Continue == "" {
			break
		}
	}
	t.answered(what, nil)
	if resource != "" {
		return // it may be older than what is newest, and what it must not be older than is judged by the API server
	}
	t.judgeList(starts, items)
}

// judgeList wants every object of a list to be as new as what was acknowledged, and none to be missing.
func (t *traffic) judgeList(starts map[string]began, items []core.ConfigMap) {
	seen := map[string]bool{}
	for _, o := range items {
		if !isOurs(o.Name) {
			continue
		}
		seen[o.Name] = true
		version, number := versionOf(&o)
		if at, is := starts[o.Name]; is {
			t.wrong(t.line(o.Name).saw(at, version, number))
		}
	}
	for name, at := range starts {
		if l := t.line(name); !seen[name] && at.floor >= 0 && at.reign == l.begin().reign {
			t.wrong(fmt.Errorf("%s: not in a list, and number %d was acknowledged", name, at.floor))
		}
	}
}
