"""The report on a clip of the reader's own: finding its moments, drawing its pictures, writing one page without a network."""
