"""What an encoder's features are worth, measured or exported without training the encoder."""
