"""What a trained model looks at, and how far to believe that."""
