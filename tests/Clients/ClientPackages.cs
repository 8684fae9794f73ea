namespace Dmb.Tests.Clients;

/// <summary>The tests that need a client's package: each is packed and installed once.</summary>
[CollectionDefinition]
public sealed class ClientPackages : ICollectionFixture<JavaScriptPackage>, ICollectionFixture<DotNetPackage>;
