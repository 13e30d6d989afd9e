"""The same image on Azure: Container Apps, and a Container Instance for a single job."""
