namespace Dmb.Tests.Contracts;

public sealed class OpenApiTests
{
    [Fact]
    public async Task The_committed_openapi_yaml_is_what_the_endpoints_say()
    {
        var made = await OpenApiDocument.GenerateAsync();
        var committed = Path.Combine(Repository.Root, "openapi.yaml");
        if (Environment.GetEnvironmentVariable("UPDATE_OPENAPI") == "1")
        {
            await File.WriteAllTextAsync(committed, made);
        }

        Assert.Equal(await File.ReadAllTextAsync(committed), made);
    }
}
