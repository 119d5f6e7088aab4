package localfleet

// Save writes the files of all nodes of the region, which use them from their next start on. Each names the nodes that
// the region has; one that joins does not name itself.
func (r *Region) Save() error {
	for _, n := range r.Nodes {
		n.Config.Nodes = map[string]string{}
		for _, other := range r.Nodes {
			if other != n || !n.Config.Join {
				n.Config.Nodes[other.Config.Name] = other.Config.ListenPeer
			}
		}
		if err := n.Save(); err != nil {
			return err
		}
	}
	return nil
}

// Move gives a node that does not run other addresses, and writes them into the files of its region.
func (f *Fleet) Move(n *Node) error {
	addrs, err := f.ports.Next(3)
	if err != nil {
		return err
	}
	n.Config.ListenClient, n.Config.ListenPeer, n.Config.ListenHTTP = addrs[0], addrs[1], addrs[2]
	return f.Region(n.Config.Region).Save()
}

// Replace lays out a node of the next name of its region, with an empty directory and else the same configuration, that
// joins in the place of a node that does not run and belongs to the fleet no longer. Its links lead to the new node at
// once. That it is a member is the caller's business.
func (f *Fleet) Replace(old *Node) (*Node, error) {
	r := f.Region(old.Config.Region)
	n, err := newNode(&f.options, r.Name, r.nextName())
	if err != nil {
		return nil, err
	}
	c := old.Config
	c.Name, c.DataDir, c.Join = n.Config.Name, n.Config.DataDir, true
	c.ListenClient, c.ListenPeer, c.ListenHTTP = n.Config.ListenClient, n.Config.ListenPeer, n.Config.ListenHTTP
	n.Config, n.inbound = c, old.inbound
	for i := range r.Nodes {
		if r.Nodes[i] == old {
			r.Nodes[i] = n
		}
	}
	n.Follow()
	return n, r.Save()
}

// Follow leads the links to the node to where its file says that it listens.
func (n *Node) Follow() {
	for _, k := range n.inbound {
		k.aim(n.Config.ListenPeer)
	}
}
