"""AWS Bedrock as a backend, by its Converse API.

:mod:`request` and :mod:`reply` are between OpenAI's JSON and Converse's; :mod:`connection` signs and sends, on the
event loop and without a thread for each answer; :mod:`backend` tries again and elsewhere.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""
