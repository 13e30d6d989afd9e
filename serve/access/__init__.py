"""Who may call: API keys and tokens of an OpenID Connect issuer.

Importing this package loads neither boto3 nor PyJWT; the store or the issuer that the settings name
loads what it needs.
"""
