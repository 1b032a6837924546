"""A set, a round trip of the response, a remove, a read and a 422 by the generated client."""

import os

import openapi_client as client

ID = "39e8003c-6342-4fd3-97a1-3f2a7b437d0a"


def update(body, **headers):
    return api.update_distributor(ID, "integration", body, **headers)


configuration = client.Configuration(host=os.environ["URL"], access_token=os.environ["TOKEN"])
api = client.DistributorsApi(client.ApiClient(configuration))

basic = client.Authentication(type=1, username="user", password="pass")
meta = client.Meta(host="https://example.com222", path="/webhook", method=client.MetaMethod(2), authentication=basic)
found = update(client.Update(meta=meta))
assert found.meta.method.actual_instance == "POST" and found.meta.authentication.type.actual_instance == 1, found
print("set")

again = update(client.Update.from_dict(found.to_dict()))
assert again.meta == found.meta and again.updated_at > found.updated_at, again
found = again
print("round-trip")

removed = update(client.Update(meta=None), if_match=f'"{found.updated_at}"')
assert removed.meta is None and removed.updated_at > found.updated_at, removed
print("remove")

assert update(client.Update()) == removed
print("read")

try:
    update(client.Update(meta=client.Meta(host="http://localhost", path="/")))
except client.exceptions.UnprocessableEntityException as error:
    assert error.data.code == "invalid_body" and [each.pointer for each in error.data.errors] == ["/meta/host"], error
    print(error.status)
