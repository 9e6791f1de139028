"""Generation and log-likelihood behind one protocol, with every response stored before it is used."""
