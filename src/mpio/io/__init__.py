"""The edge: sockets, clocks, randomness and files around the engines that know none of them."""
