package nlsock

// Disconnect makes the Conn one that a sandbox has kept from connecting.
func (c *Conn) Disconnect() { c.connected = false }
